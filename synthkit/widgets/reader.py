"""Blinded reading in a notebook: one image or two, keys for the answers, nothing that could be changed afterwards."""
import base64
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from synthkit.core.figures import png, sheet
from synthkit.errors import SynthkitError
from synthkit.studies.reader.sitting import Sitting
from synthkit.studies.reader.study import ReaderStudy

SIDE = 384  # pixels that a small image is enlarged to, by whole pixels
PAGE = """
function render({ model, el }) {
  const box = document.createElement("div");
  box.tabIndex = 0;
  box.className = "synthkit-reader";
  box.innerHTML = `<p class="q"></p><img alt="image to be read"><div class="a"></div><p class="s" role="status"></p>`;
  const css = document.createElement("style");
  css.textContent = `.synthkit-reader{background:#111;color:#ddd;padding:12px;outline:none;max-width:900px;font:15px sans-serif}
    .synthkit-reader:focus{box-shadow:0 0 0 2px #58a inset}.synthkit-reader img{image-rendering:pixelated;display:block;margin:8px 0}
    .synthkit-reader button{margin:2px 6px 2px 0;padding:6px 10px;background:#333;color:#eee;border:1px solid #666;cursor:pointer}`;
  el.append(css, box);
  const [q, img, a, s] = [".q", "img", ".a", ".s"].map(name => box.querySelector(name));
  let shown = 0, open = false;
  function answer(choice) {
    const trial = model.get("trial");
    if (!open || trial < 0 || choice >= model.get("answers").length) return;
    open = false;
    model.set("answered", { trial, choice, seconds: (performance.now() - shown) / 1000 });
    model.save_changes();
  }
  function draw() {
    const trial = model.get("trial");
    q.textContent = model.get("question");
    s.textContent = model.get("status");
    img.style.display = trial < 0 ? "none" : "block";
    a.replaceChildren();
    if (trial < 0) return;
    model.get("answers").forEach((text, number) => {
      const button = document.createElement("button");
      button.textContent = `${number + 1}  ${text}`;
      button.onclick = () => { answer(number); box.focus(); };
      a.append(button);
    });
    img.onload = () => { shown = performance.now(); open = true; };
    img.src = model.get("picture");
  }
  box.addEventListener("keydown", event => {
    const number = Number(event.key);
    if (!Number.isInteger(number) || number < 1) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat) answer(number - 1);
  });
  model.on("change:turn", draw);
  draw();
}
export default { render };
"""


class ReaderView(anywidget.AnyWidget):
    """Shows the trials of a sitting; made by `read`. Keys 1, 2, 3 … or a click give the answer, which is written at once."""

    _esm = PAGE
    question = traitlets.Unicode().tag(sync=True)
    answers = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Unicode().tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    trial = traitlets.Int(-1).tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Dict().tag(sync=True)

    def __init__(self, sitting: Sitting):
        super().__init__()
        self.sitting = sitting
        self.answers = list(sitting.study.asked.answers)
        resumed = f"Going on as {sitting.reader!r}, who has answered {sitting.resumed}; somebody else takes another name. " if sitting.resumed else ""
        self._show(resumed)
        self.observe(self._taken, names="answered")

    def __repr__(self) -> str:
        return f"ReaderView({self.sitting.reader!r}, {len(self.sitting.done)} of {len(self.sitting.study.trials)} answered)"

    def _taken(self, change: dict[str, Any]) -> None:
        said = change["new"]
        try:
            self.sitting.answer(said["trial"], said["choice"], said["seconds"])
        except (SynthkitError, OSError) as error:
            self._show(f"Not written: {error} ")
            return
        self._show("")

    def _show(self, before: str) -> None:
        study, trial = self.sitting.study, self.sitting.current
        count = f"{len(self.sitting.done)} of {len(study.trials)} answered by {self.sitting.reader!r}."
        if trial is None:
            self.question, self.status, self.trial = "Finished. Thank you.", f"{before}{count}", -1
        else:
            self.question, self.status, self.trial = study.asked.question, f"{before}{count} Keys 1 to {len(study.asked.answers)} answer.", trial.number
            self.picture = _picture(study.pictures(trial))
        self.turn += 1


def read(study: ReaderStudy, *, reader: str = "reader 1", log: str | Path = "reader-log.jsonl") -> ReaderView:
    """A blinded reading in a notebook cell; interrupted, it goes on where the log ends.

    Args:
        study: what is read.
        reader: a name or number, another one for each reader.
        log: file of answers, one JSON line each, written at once and sealed against changes; several readers may share it.
    Raises:
        DataError: no reader's name, or a log that was edited or belongs to another study.

    Example:
        sk.read(study, reader="A", log="log.jsonl")
    """
    return ReaderView(Sitting(study, reader=reader, log=log))


def _picture(pictures: list[np.ndarray]) -> str:
    """The images side by side as a data address; nothing in it says what they are."""
    scale = max(1, SIDE // pictures[0].shape[0])
    return "data:image/png;base64," + base64.b64encode(png(sheet(pictures, columns=len(pictures), gap=8), scale=scale)).decode()
