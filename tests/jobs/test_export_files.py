"""What exports write, word for word, and what they refuse to write.

The expected files stand in ``golden``; ``HWM_GOLDEN=write`` writes them anew.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml
from fakes import notebooks
from fakes.notebooks import CONNECTIONS, LOAD_EXT, markdown, tagged

import hwm_magics
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.export import TARGETS
from hwm_magics.jobs.export.targets import export
from hwm_magics.version import __version__

GOLDEN = Path(__file__).parent / "golden"
PLANTED = "hunter2-Tr0ub4dor"

HWM_YAML = """\
connections:
  erp: {type: postgres, host: erp, database: sales, username: loader, password: "${env:ERP_PASSWORD}"}
  vault: {type: sql_server, host: v, database: d, username: u, password: "${secret:vault/pw}"}
  lake: {type: local, root: ./lake}
  unused: {type: postgres, host: other, database: o, username: u, password: literal-but-not-exported}
defaults:
  read: {connection: erp}
  write: {connection: lake, mode: upsert}
"""
DAILY = """\
# what the shop sells
pipeline: daily sales
params: {since: "2024-01-01", limit: 1000, strict: true, ids: [1, 2]}
nodes:
  - name: customers
    read: {connection: vault, table: dbo.customers, incremental: {column: row_version}}
    write: {path: raw/customers, keys: [id]}
  - name: raw.orders
    depends_on: [customers]
    read:
      query: |
        SELECT * FROM public.orders
        WHERE placed_on >= ${since} AND id < ${limit} AND id IN (${first_id})
      incremental: {column: updated_at, lag: 30m}
    write: {path: raw/orders, keys: [order_id]}
"""
LOAD = """\
%%hwm_load job --plan --node raw.orders --param first_id=7
read:
  connection: shop
  query: SELECT * FROM orders WHERE id >= ${first_id} AND amount < ${limit}
  incremental: {column: updated_at}
write: {connection: lake, path: raw/orders, mode: append}"""
OWN_CODE = [
    markdown("# Orders\nwith their code"),
    LOAD_EXT,
    tagged("limit = 100  # at most"),
    "def clean(frame):\n    return frame[frame.id > 1]",
    CONNECTIONS,
    LOAD.replace("read:\n", "transform: clean\nread:\n", 1),
    "print(job.result.rows_written)",
]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.delenv("HWM_MAGICS_CONFIG", raising=False)
    (tmp_path / "hwm.yaml").write_text(HWM_YAML)
    (tmp_path / "daily.yaml").write_text(DAILY)
    notebooks.write(
        tmp_path / "orders.ipynb",
        markdown("# Orders"),
        LOAD_EXT,
        tagged("limit = 100  # at most"),
        {
            "source": "shop_frame.head()",
            "execution_count": 3,
            "outputs": [{"output_type": "stream", "name": "stdout", "text": PLANTED}],
        },
        CONNECTIONS,
        LOAD,
    )  # fmt: skip
    notebooks.write(tmp_path / "own_code.ipynb", *OWN_CODE)
    return tmp_path


def made(folder: Path, file: str, target: str, params=None, **options):
    """The files of an export by their paths in its folder."""
    out = folder / "out"
    files, notes = export(folder / file, params or {}, target=target, out=out, **options)
    return {str(path.relative_to(out)): path.read_text() for path in files}, notes


@pytest.mark.parametrize(
    ("file", "target", "options"),
    [
        *(("daily.yaml", target, {}) for target in TARGETS),
        ("daily.yaml", "databricks", {"task": "wheel"}),
        *(("orders.ipynb", target, {}) for target in ("ipynb", "airflow", "github-actions")),
        *(("own_code.ipynb", target, {}) for target in ("ipynb", "py", "airflow", "databricks")),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_the_files_are_the_expected_ones_word_for_word(folder, file, target, options):
    found, notes = made(folder, file, target, {"first_id": "7"} if file == "daily.yaml" else {}, **options)
    found["NOTES"] = "\n".join(notes) + "\n"
    place = GOLDEN / "-".join([file.partition(".")[0], target, *options.values()])
    told = {
        name: text.replace(str(folder.resolve()), "/project").replace(__version__, "VERSION")
        for name, text in found.items()
    }
    if os.environ.get("HWM_GOLDEN") == "write":
        for name, text in told.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    expected = {str(path.relative_to(place)): path.read_text() for path in place.rglob("*") if path.is_file()}
    assert told == expected


def test_an_export_of_an_export_is_the_same_notebook(folder):
    first, _ = made(folder, "orders.ipynb", "ipynb")
    (folder / "again").mkdir()
    (folder / "again" / "orders.ipynb").write_text(first["orders.ipynb"])
    second, _ = made(folder / "again", "orders.ipynb", "ipynb")
    cells = [
        [cell["source"] for cell in json.loads(each["orders.ipynb"])["cells"]] for each in (first, second)
    ]
    assert cells[1] == [cells[0][0], *(cell for cell in cells[1][1:])]
    assert [cell for cell in cells[1] if cell[0].startswith("%%")] == [
        cell for cell in cells[0] if cell[0].startswith("%%")
    ]


def test_neither_outputs_nor_the_values_of_credentials_go_along(folder, monkeypatch):
    for variable in ("ERP_PASSWORD", "HWM_SECRET_VAULT_PW"):
        monkeypatch.setenv(variable, PLANTED)
    for target in TARGETS:
        for file, params in (("orders.ipynb", {}), ("daily.yaml", {"first_id": "1"})):
            files, notes = export(folder / file, params, target=target, out=folder / target / file)
            assert PLANTED not in "".join([*(path.read_text() for path in files), *notes])


def test_a_value_given_becomes_the_default(folder):
    found, _ = made(folder, "orders.ipynb", "ipynb", {"limit": "5", "first_id": "9"})
    cells = ["".join(cell["source"]) for cell in json.loads(found["orders.ipynb"])["cells"]]
    assert 'limit = 100  # at most\nfirst_id = "9"\nlimit = 5' in cells
    assert all("--param" not in cell for cell in cells)


def test_a_param_that_loads_default_differently_stays_in_their_lines(folder):
    other = (
        LOAD.replace("first_id=7", "first_id=8")
        .replace("raw/orders", "raw/other")
        .replace(" --node raw.orders", "")
    )
    notebooks.write(folder / "two.ipynb", tagged("limit = 1"), CONNECTIONS, LOAD, other)
    found, notes = made(folder, "two.ipynb", "ipynb")
    assert "--param first_id=7" in found["two.ipynb"]
    assert "--param first_id=8" in found["two.ipynb"]
    assert "the param first_id has several defaults, and stays as it is written" in notes


def test_a_module_of_a_transform_goes_along(folder):
    (folder / "rules.py").write_text("def clean(frame):\n    return frame\n")
    (folder / "ruled.yaml").write_text(
        "transform: rules:clean\nread: {table: a.b}\nwrite: {path: raw/b, keys: [id]}\n"
    )
    found, _ = made(folder, "ruled.yaml", "cron")
    assert found["rules.py"] == "def clean(frame):\n    return frame\n"


@pytest.mark.parametrize(
    ("connection", "extras"),
    [
        ("{type: sql_server, host: v, database: d, authentication: azure_default}", "azure,sqlserver"),
        ("{type: mysql, host: v, database: d, username: u, driver: odbc}", "mysql,odbc"),
        ("{type: mysql, host: v, database: d, username: u}", "mysql"),
    ],
)
def test_the_requirements_name_all_extras_of_a_connection(folder, connection, extras):
    (folder / "hwm.yaml").write_text(
        f"connections:\n  erp: {connection}\n  lake: {{type: local, root: ./lake}}\n"
    )
    (folder / "small.yaml").write_text(
        "read: {connection: erp, table: a.b}\nwrite: {connection: lake, path: raw/b, mode: upsert, keys: [id]}\n"
    )
    found, _ = made(folder, "small.yaml", "py")
    assert f"hwm-magics[{extras}]" in found["requirements.txt"]


def test_the_package_can_be_named(folder):
    found, _ = made(folder, "orders.ipynb", "airflow", package="./dist/hwm_magics-9.whl")
    assert "./dist/hwm_magics-9.whl\n" in found["requirements.txt"]
    assert 'REQUIREMENTS = ["./dist/hwm_magics-9.whl"]' in found["orders_dag.py"]


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("password = 'hunter2'", "cell 1, line 1"),
        ("\n\nengine = create_engine(\n  'postgresql://u:hunter2@h/d')", "cell 1, line 4"),
        ("connect(host='h', password='hunter2')", "cell 1, line 1"),
        ("settings = {\n 'api_key': 'hunter2'}", "cell 1, line 2"),
        ("import os\nos.environ['DB_PASSWORD'] = 'hunter2'", "cell 1, line 2"),
        ("%env DB_PASSWORD=hunter2", "cell 1, line 1"),
        ("!psql postgresql://u:hunter2@h/d", "cell 1, line 1"),
        ("pyodbc.connect('DRIVER=x;SERVER=h;PWD=hunter2')", "cell 1, line 1"),
        ("x = (\npassword = 'hunter2'", "cell 1, line 2"),
        (markdown("log in with\npostgresql://u:hunter2@h/d"), "cell 1, line 2"),
        ("%%hwm_connections\nerp:\n  type: postgres\n  password: hunter2", "cell 1, line 4"),
        ("%%hwm_connections\nerp: {type: sql, url: 'mysql://u:hunter2@h/d'}", "cell 1, line 2"),
        ("%%hwm_connections\nerp: {type: odbc, connection_string: 'DSN=x;PWD=hunter2'}", "cell 1, line 2"),
        (
            "%%hwm_connections\n# was: postgresql://u:hunter2@h/d\nerp: {type: sqlite, database: x}",
            "cell 1, line 2",
        ),
        ("%%hwm_load --param password=hunter2\nread: {}", "cell 1, line 1"),
    ],
)
def test_a_literal_credential_is_refused_with_its_line_and_never_shown(folder, cell, told):
    notebooks.write(folder / "leaky.ipynb", cell, CONNECTIONS, LOAD, tagged("limit = 1"))
    with pytest.raises(ConfigError, match="literal credentials") as caught:
        made(folder, "leaky.ipynb", "py")
    problem = caught.value.problems[0]
    assert f"{problem.path}, line {problem.line}" == told
    assert "hunter2" not in str(caught.value)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "cell",
    [
        "password = os.environ['PW']",
        "token_column = 'token'",
        "connect(password='${env:PW}')",
        "password = ''",
        "keyring.get_password('erp', 'loader')",
        "%%hwm_connections\nerp: {type: postgres, host: h, database: d, password: '${secret:erp/pw}'}",
        "%%hwm_connections\nerp: {type: sql, url: 'postgresql://u:${env:PW}@h/d'}",
        "%%hwm_connections\nerp: {type: sql, url: 'postgresql://h/d'}",
        markdown("postgresql://user:***@host/db"),
    ],
)
def test_what_is_no_literal_credential_is_exported(folder, cell):
    notebooks.write(folder / "clean.ipynb", cell, CONNECTIONS, LOAD, tagged("limit = 1"))
    assert made(folder, "clean.ipynb", "ipynb")[0]


def test_sql_about_a_column_named_token_is_no_credential(folder):
    (folder / "tokens.yaml").write_text(
        "read: {query: \"SELECT * FROM t WHERE token = 'abc'\"}\nwrite: {path: a/b, keys: [id]}"
    )
    assert made(folder, "tokens.yaml", "ipynb")[0]


def test_a_credential_of_hwm_yaml_is_refused_where_its_connection_is_used(folder):
    (folder / "other.yaml").write_text(
        "read: {connection: unused, table: a.b}\nwrite: {path: raw/b, keys: [id]}"
    )
    with pytest.raises(ConfigError, match=r"hwm\.yaml is not exported") as caught:
        made(folder, "other.yaml", "cron")
    assert caught.value.problems[0].line == 5
    assert "literal-but-not-exported" not in str(caught.value)


def test_a_credential_in_a_module_that_goes_along_is_refused(folder):
    (folder / "rules.py").write_text("password = 'hunter2'\n")
    (folder / "ruled.yaml").write_text(
        "transform: rules:clean\nread: {table: a.b}\nwrite: {path: raw/b, keys: [id]}\n"
    )
    with pytest.raises(ConfigError, match=r"rules\.py is not exported"):
        made(folder, "ruled.yaml", "cron")


@pytest.mark.parametrize(
    ("file", "target", "options", "told"),
    [
        ("daily.yaml", "airflw", {}, "did you mean 'airflow'"),
        ("nothing.yaml", "py", {}, "can't be read"),
        ("empty.ipynb", "py", {}, "has no load cell"),
        ("force.ipynb", "py", {}, "cell 2 says --force-first-run"),
        ("backfill.ipynb", "ipynb", {}, "cell 2 says --backfill"),
        ("magic.ipynb", "py", {}, "cell 2 can't become part of a script: its line 2"),
        ("own_code.ipynb", "databricks", {"task": "wheel"}, "the notebook needs one"),
        ("orders.ipynb", "databricks", {"task": "jar"}, "--task 'jar' is unknown"),
        ("orders.ipynb", "databricks", {"schedule": "0 6 1 * mon"}, "days and weekdays"),
        ("orders.ipynb", "cron", {"schedule": "0 6"}, "is no schedule"),
        ("orders.ipynb", "cron", {"schedule": "61 6 * * *"}, "is no schedule"),
        ("orders.ipynb", "cron", {"schedule": "R 6 * * *"}, "is no schedule"),
        ("orders.ipynb", "cron", {"timezone": "Berlin"}, "is no time zone"),
        ("orders.ipynb", "github-actions", {"timezone": "Europe/Berlin"}, "runs schedules in UTC"),
        ("orders.ipynb", "py", {"params": {"sinse": "1"}}, "there is no param 'sinse'"),
        ("orders.ipynb", "py", {"params": {"limit": "many"}}, "of another type"),
        ("daily.yaml", "py", {}, "has no default"),
        ("typo.yaml", "py", {}, "there is no connection named"),
    ],
)  # fmt: skip
def test_what_must_not_be_exported_is_refused_and_nothing_is_written(folder, file, target, options, told):
    limit = tagged("limit = 1")
    notebooks.write(folder / "empty.ipynb", "x = 1")
    notebooks.write(folder / "force.ipynb", CONNECTIONS, LOAD.replace("--plan", "--force-first-run"), limit)
    notebooks.write(folder / "backfill.ipynb", CONNECTIONS, LOAD.replace("--plan", "--backfill 1..2"), limit)
    notebooks.write(folder / "magic.ipynb", limit, "x = 1\n%time y = 2\ndef f(x): return x", CONNECTIONS,
                    LOAD.replace("read:\n", "transform: f\nread:\n", 1))  # fmt: skip
    (folder / "typo.yaml").write_text("read: {connection: er, table: a.b}\nwrite: {path: raw/b, keys: [id]}")
    with pytest.raises(ConfigError) as caught:
        made(folder, file, target, **options)
    assert told in str(caught.value)
    assert not (folder / "out").exists()


def test_a_credential_given_as_a_param_is_refused(folder):
    (folder / "secret.yaml").write_text(
        "params: {api_token: null}\nread: {table: a.b}\nwrite: {path: a/b, keys: [id]}"
    )
    with pytest.raises(ConfigError, match="literal credentials") as caught:
        made(folder, "secret.yaml", "cron", {"api_token": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_a_param_that_python_has_a_word_for_stays_in_the_yaml(folder):
    (folder / "words.yaml").write_text(
        'params: {class: a, since: "2024"}\nread: {table: a.b, where: "c = ${class} AND d > ${since}"}\n'
        "write: {path: a/b, keys: [id]}"
    )
    found, notes = made(folder, "words.yaml", "ipynb")
    cells = ["".join(cell["source"]) for cell in json.loads(found["words.ipynb"])["cells"]]
    assert 'since = "2024"' in cells
    assert any("the param class" in note for note in notes)


def test_names_and_values_can_not_leave_their_quotes(folder):
    """Whatever a file is called and a param holds, each artefact is whole."""
    file = folder / 'it\'s "x" %h $(y) """z.yaml'
    hostile = "a'b\"c`d$(e)%f\\\\g"
    file.write_text(
        f"params: {{since: {json.dumps(hostile)}}}\nread: {{table: a.b, where: 'd > ${{since}}'}}\n"
        "write: {path: a/b, keys: [id]}"
    )
    for target in TARGETS:
        files, _ = export(file, {}, target=target, out=folder / target)
        for path in files:
            text = path.read_text()
            if path.suffix == ".py":
                tree = compile(text, str(path), "exec", ast.PyCF_ONLY_AST)
                values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
                assert hostile in values
            elif path.suffix in (".yml", ".yaml") and path.name != "hwm.yaml":
                assert yaml.safe_load(text)
            elif path.suffix == ".ipynb":
                cells = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
                (cell,) = [each for each in cells if each.startswith("since = ")]
                assert ast.literal_eval(cell.partition(" = ")[2]) == hostile
            elif path.suffix == ".sh":
                probe = text.replace('exec "${HWM:-hwm}"', "printf '%s\\n'").replace(
                    'cd "$(dirname "$0")"', ""
                )
                said = subprocess.run(
                    ["sh", "-c", probe], capture_output=True, text=True, check=True, cwd=folder
                ).stdout
                assert f"since={hostile}\n" in said
    file.write_text(file.read_text().replace("since", "größe"))
    with pytest.raises(ConfigError, match="takes no input"):
        export(file, {}, target="github-actions", out=folder / "foreign")


def test_files_that_are_there_and_differ_are_kept_unless_told(folder):
    made(folder, "orders.ipynb", "py")
    made(folder, "orders.ipynb", "py")  # the same again is no harm
    (folder / "out" / "orders.py").write_text("mine")
    with pytest.raises(ConfigError, match="there already"):
        made(folder, "orders.ipynb", "py")
    assert (folder / "out" / "orders.py").read_text() == "mine"
    assert made(folder, "orders.ipynb", "py", overwrite=True)[0]["orders.py"] != "mine"


@pytest.mark.parametrize(
    ("cron", "quartz", "calendar"),
    [
        ("0 6 * * *", "0 0 6 * * ?", "*-*-* 06:00:00 UTC"),
        (
            "*/30 7-9 * * mon-fri",
            "0 0,30 7,8,9 ? * 2,3,4,5,6",
            "Mon,Tue,Wed,Thu,Fri *-*-* 07,08,09:00,30:00 UTC",
        ),
        ("5 0 1,15 jan,jul *", "0 5 0 1,15 1,7 ?", "*-01,07-01,15 00:05:00 UTC"),
        ("0 0 * * 7", "0 0 0 ? * 1", "Sun *-*-* 00:00:00 UTC"),
        ("@daily", "0 0 0 * * ?", "*-*-* 00:00:00 UTC"),
        ("* * * * *", "0 * * * * ?", "*-*-* *:*:00 UTC"),
    ],
)
def test_a_schedule_means_the_same_everywhere(cron, quartz, calendar):
    from hwm_magics.jobs.export.schedule import read_schedule

    schedule = read_schedule(cron)
    assert (schedule.quartz, schedule.on_calendar) == (quartz, calendar)


def test_hwm_export_as_a_magic_a_command_and_a_call_write_the_same_files(folder, monkeypatch, capsys):
    from click.testing import CliRunner
    from IPython.core.interactiveshell import InteractiveShell

    from hwm_magics.cli import cli

    done = CliRunner().invoke(cli, ["export", str(folder / "orders.ipynb"), "--to", "py", "--json"])
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert [Path(each).name for each in files] == ["orders.py", "requirements.txt"]
    shell = InteractiveShell()
    try:
        shell.run_line_magic("load_ext", "hwm_magics")
        monkeypatch.setenv("JPY_SESSION_NAME", str(folder / "orders.ipynb"))
        shell.run_line_magic("hwm_export", f"--to py --out '{folder / 'magic out'}'")
        monkeypatch.delenv("JPY_SESSION_NAME")
        shell.user_ns["__vsc_ipynb_file__"] = str(folder / "orders.ipynb")
        shell.run_line_magic("hwm_export", f"--to py --out {folder / 'vs_code'}")
        del shell.user_ns["__vsc_ipynb_file__"]
        with pytest.raises(ConfigError, match="which notebook this is"):
            shell.run_line_magic("hwm_export", "--to py")
    finally:
        shell.run_line_magic("unload_ext", "hwm_magics")
    script = Path(files[0]).read_text()
    assert (folder / "magic out" / "orders.py").read_text() == script
    assert (folder / "vs_code" / "orders.py").read_text() == script
    assert hwm_magics.export(folder / "orders.ipynb", "py", folder / "call")[0].read_text() == script
    assert str(folder / "magic out" / "orders.py") in capsys.readouterr().out
