"""A card in JupyterLab: how long planning takes, when the card is on the screen, what the load leaves in the notebook.

The increment is planned twice in a fresh kernel, the first time with the imports that are made on demand;
then Run is pressed.
"""

import lab
import ours
from common import done, job
from playwright.sync_api import expect

WATCH = """\
import json, time
began = time.perf_counter()
watched = []
{watch}
imports = time.perf_counter() - began"""

task = job()
load = f"%%hwm_load job\n{ours.text(task)}"
tell = "print(json.dumps({'imports': imports, 'planned': watched[-1]}))"
with lab.notebook(task, WATCH.format(watch=ours.WATCH_PLANNING), load, tell) as page:
    page.run(0)
    page.save()
    file = page.lab.root / page.path
    before = file.stat().st_size
    facts = {}
    for again in ("", "_again"):
        page.page.evaluate(lab.WATCH_PAGE)
        page.run(1)
        shown = page.page.wait_for_function("() => window.shown").json_value()
        told = lab.figures(page, 2)
        start, end = told["planned"]
        # What the watching cell imported, the first plan would have.
        facts[f"planning{again}"] = end - start + (0 if again else told["imports"])
        facts[f"card{again}"] = shown - end
    page.button(1, "Run").click()
    expect(page.status(1)).to_contain_text("SUCCEEDED")
    page.save()
    facts["grown_kb"] = (file.stat().st_size - before) / 1000
    page.assert_clean()
done(**{name: round(value, 4) for name, value in facts.items()})
