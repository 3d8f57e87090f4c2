"""Loads with a card's live progress in JupyterLab, and the same loads without any, in turn in one kernel."""

import shutil
import statistics
import time

import lab
import ours
from common import done, job
from playwright.sync_api import expect

ROUNDS = 12

WATCH = """\
import json, time
watched = []
{watch}
def spent():
    return {{"cpu": time.process_time(), "painting": sum(watched)}}"""

task = job()
load = f"%%hwm_load job\n{ours.text(task)}"
bare = f"""\
import hwm_magics
before = spent()
result = hwm_magics.load({ours.text(task)!r}, connections={ours.connections(task)!r})
after = spent()
print(json.dumps({{"seconds": result.seconds, "cpu": after["cpu"] - before["cpu"]}}))"""
told = """\
job.wait()
after = spent()
print(json.dumps({name: after[name] - before[name] for name in after} | {"seconds": job.result.seconds}))"""


def with_card(page: lab.LabPage) -> dict[str, float]:
    page.run(1)
    page.run(3)
    page.button(1, "Run").click()
    # Waits as the other way does: whoever looks at the page costs time as well.
    figures = lab.figures(page, 4)
    expect(page.status(1)).to_contain_text("SUCCEEDED")
    return figures


def without(page: lab.LabPage) -> dict[str, float]:
    return lab.figures(page, 2)


runs = {"with_card": [], "without": []}
with lab.notebook(
    task, WATCH.format(watch=ours.WATCH_PAINTING), load, bare, "before = spent()", told
) as page:
    page.run(0)
    for number in range(ROUNDS + 1):
        for way in (with_card, without) if number % 2 else (without, with_card):
            shutil.rmtree(task["target"], ignore_errors=True)
            figures = way(page)
            if number:
                runs[way.__name__].append(figures)
            time.sleep(0.5)  # what the page still paints is not the next load's
    page.assert_clean()


def over(figure: str) -> float:
    """By how many per cent loads with a card take more."""
    pairs = zip(runs["with_card"], runs["without"], strict=True)
    return 100 * (statistics.median(a[figure] / b[figure] for a, b in pairs) - 1)


share = statistics.median(100 * run["painting"] / run["seconds"] for run in runs["with_card"])
done(
    progress=round(over("seconds"), 2),
    cpu=round(over("cpu"), 2),
    share=round(share, 2),
    seconds=statistics.median(run["seconds"] for run in runs["with_card"]),
)
