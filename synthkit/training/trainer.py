"""Run a training plan: Lightning drives the steps, the keeper does the rest."""
import logging
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch

from synthkit.core.budget import Minutes
from synthkit.core.device import accelerator
from synthkit.errors import FitError
from synthkit.nets.network import Trainable
from synthkit.training.data import TrainingData
from synthkit.training.keeper import Keeper
from synthkit.training.loop import Loop
from synthkit.training.memory import require_room
from synthkit.training.plan import Outcome, Plan
from synthkit.training.precision import trained_in
from synthkit.training.state import State, load_state


def _lightning(plan: Plan, keeper: Keeper, *, precision: str) -> pl.Trainer:
    kind = accelerator(plan.device)
    if kind == "cuda" and plan.devices > torch.cuda.device_count():
        raise FitError(f"devices={plan.devices}, but this machine has {torch.cuda.device_count()} GPU(s)")
    if plan.devices > 1 and isinstance(plan.budget, Minutes):
        raise FitError("a budget in minutes runs on one device, since each would keep its own time; give steps for several devices")
    if plan.devices > 1 and plan.private:
        raise FitError("training with differential privacy runs on one device; give devices=1")
    if plan.batch_size < plan.devices:
        raise FitError(f"batch_size={plan.batch_size} cannot be shared by devices={plan.devices}")
    # A notebook's kernel cannot be spawned again, only forked.
    several = "ddp_notebook" if _in_notebook() else "ddp_spawn"
    return pl.Trainer(
        accelerator="gpu" if kind == "cuda" else "cpu", devices=plan.devices, strategy=several if plan.devices > 1 else "auto",
        precision=precision,
        max_steps=-1, max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[keeper], num_sanity_val_steps=0, use_distributed_sampler=False, default_root_dir=keeper.folder,
    )  # fmt: skip


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return get_ipython() is not None


def _quiet() -> None:
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*LeafSpec.*", ".*GPU available but not used.*", ".*max_epochs.*", ".*Full backward hook.*",
                 ".*gradient layout contract.*"):
        warnings.filterwarnings("ignore", message=text)


def train(network: Trainable, data: TrainingData, plan: Plan) -> Outcome:
    """Train a network in place and leave it with its averaged weights.

    Raises:
        FitError: no room in memory, a loss that is no number, a run folder of another run.
        StoreError: a damaged checkpoint in the run folder.
    """
    used = trained_in(network, data, plan.device) if plan.private is None else "32-true"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(plan.run or scratch)
        state = load_state(folder, plan.identity) if plan.run else None
        if state is None or not state.finished:
            _run(network, data, plan, state or State({}, 0), folder, precision=used)
            state = load_state(folder, plan.identity)
        network.load_state_dict(state.part("average"))
    # Weights in another layout round otherwise: a run that is read back must give the bytes of one that was just trained.
    layout = torch.channels_last if data.dims == 2 else torch.channels_last_3d
    network.requires_grad_(False).eval().to(accelerator(plan.device), memory_format=layout)
    return Outcome(state.part("average"), state.step, state.step * plan.batch_size, state.seconds, state.losses, used)


def go_on(network: Trainable, data: TrainingData, plan: Plan, start: State) -> State:
    """The steps from where `start` stands to `plan.stop`, as a part of a longer run; the network is left with its own weights, not the averaged ones."""
    used = trained_in(network, data, plan.device)
    with tempfile.TemporaryDirectory() as scratch:
        _run(network, data, plan, start, Path(scratch), precision=used)
        return load_state(Path(scratch), plan.identity)


def _run(network: Trainable, data: TrainingData, plan: Plan, start: State, folder: Path, *, precision: str) -> None:
    _quiet()
    network.train()
    if plan.devices == 1:
        # With several devices this process only starts the others; a CUDA context here would forbid to fork them.
        network.to(accelerator(plan.device))
    if plan.devices == 1 and not (plan.stop and start.step):  # a part of a longer run was measured at its beginning
        require_room(network, *data.take(data.rows(0)[:2], torch.device(accelerator(plan.device))), batch_size=plan.batch_size)
    # Opacus (1.6) reads gradients of single images wrong, and says nothing, where channels lie last.
    layout = torch.channels_last if data.dims == 2 else torch.channels_last_3d
    network.to(memory_format=layout if plan.private is None else torch.contiguous_format)
    if start.tensors:
        network.load_state_dict(start.part("network"))
    trainer, loop = _lightning(plan, Keeper(plan, folder, start), precision=precision), Loop(network, data, plan, start)
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(loop)
    except SystemExit:
        # Lightning ends the whole process on Ctrl-C and leaves the signal ignored, which would end a notebook's kernel.
        signal.signal(signal.SIGINT, on_interrupt)
        hint = "fit again with the same run= folder to go on from its last checkpoint" if plan.run else "with run=FOLDER it could be resumed"
        raise KeyboardInterrupt(f"training was interrupted; {hint}") from None
    finally:
        loop.release()
