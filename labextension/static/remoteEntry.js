// A JupyterLab 4 extension that needs no build: it takes Lab's own modules from the scope that Lab hands to
// init(), and Lab's own YAML parser, and colours the body of load cells with them.
(() => {
  const NAME = 'hwm-magics';
  const HEAD = /^%%hwm_(?:load|connections)\b[^\n]*\n/;
  const LONGEST_HEAD = 2000;
  const LONGEST_CELL = 50000;
  let scope;

  const shared = async name => {
    const versions = scope[name];
    if (!versions) {
      throw new Error(`${NAME}: this JupyterLab does not share ${name}`);
    }
    const factory = await versions[Object.keys(versions).pop()].get();
    return factory();
  };

  const plugin = async () => {
    const [codemirror, view, state, highlight] = await Promise.all(
      ['@jupyterlab/codemirror', '@codemirror/view', '@codemirror/state', '@lezer/highlight'].map(shared)
    );
    const classOf = tag => codemirror.jupyterHighlightStyle.style([tag]);
    const [key, word, comment] = ['atom', 'keyword', 'comment'].map(name => classOf(highlight.tags[name]));
    const plain = view.Decoration.mark({ class: 'hwm-yaml hwm-yaml-upright hwm-yaml-plain' });
    // These marks lie inside of Python's, whose bold and slanted letters would shine through.
    const theme = view.EditorView.theme({
      '.hwm-yaml-upright': { fontWeight: 'normal', fontStyle: 'normal' },
      '.hwm-yaml-plain, .hwm-yaml-plain *': { color: 'var(--jp-content-font-color1)' }
    });

    const bodyOf = doc => {
      const head = HEAD.exec(doc.sliceString(0, LONGEST_HEAD));
      return head && doc.length <= LONGEST_CELL ? head[0].length : doc.length;
    };

    // Lab's parser sees no key in what follows an opening brace.
    const looksLikeKey = text => /^\s*[^\s,:{}[\]]+\s*$/.test(text);

    const paint = (doc, parser) => {
      const marks = new state.RangeSetBuilder();
      const start = bodyOf(doc);
      if (!parser || start >= doc.length) {
        return marks.finish();
      }
      const mark = (from, to, classes) => {
        const upright = classes === word || classes === comment ? '' : 'hwm-yaml-upright';
        marks.add(from, to, classes ? view.Decoration.mark({ class: `hwm-yaml ${upright} ${classes}` }) : plain);
      };
      let done = start;
      const gap = (end, next) => {
        if (end > done) {
          mark(done, end, next === ':' && looksLikeKey(doc.sliceString(done, end)) ? key : '');
        }
      };
      const tree = parser.parse(doc.sliceString(start));
      highlight.highlightTree(tree, codemirror.jupyterHighlightStyle, (from, to, classes) => {
        gap(start + from, doc.sliceString(start + from, start + from + 1));
        mark(start + from, start + to, classes);
        done = start + to;
      });
      gap(doc.length, '');
      return marks.finish();
    };

    return {
      id: `${NAME}:plugin`,
      description: 'Colours the YAML of load cells.',
      autoStart: true,
      requires: [codemirror.IEditorExtensionRegistry, codemirror.IEditorLanguageRegistry],
      activate: (_app, extensions, languages) => {
        let parser = null;
        const waiting = new Set();
        languages.getLanguage('yaml').then(language => {
          parser = language.support.language.parser;
          waiting.forEach(editor => editor.dispatch({}));
          waiting.clear();
        });

        const painter = view.ViewPlugin.fromClass(
          class {
            constructor(editor) {
              this.editor = editor;
              this.paint(editor.state.doc);
            }
            paint(doc) {
              this.painted = parser !== null;
              if (!this.painted) {
                waiting.add(this.editor);
              }
              this.decorations = paint(doc, parser);
            }
            update(change) {
              if (change.docChanged || this.painted !== (parser !== null)) {
                this.paint(change.state.doc);
              }
            }
            destroy() {
              waiting.delete(this.editor);
            }
          },
          { decorations: value => value.decorations }
        );

        extensions.addExtension({
          name: NAME,
          // Of the highest precedence are the innermost spans, whose colours win over Python's.
          factory: () =>
            codemirror.EditorExtensionRegistry.createImmutableExtension([theme, state.Prec.highest(painter)])
        });
      }
    };
  };

  (window._JUPYTERLAB = window._JUPYTERLAB || {})[NAME] = {
    init: shareScope => {
      scope = shareScope;
    },
    get: async () => {
      const made = await plugin();
      return () => ({ __esModule: true, default: made });
    }
  };
})();
