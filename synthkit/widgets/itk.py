"""itkwidgets as a further viewer: an extra, since it loads its own code from the internet when it draws."""
import warnings
from typing import Any

from synthkit.errors import AbilityError, MissingExtraError
from synthkit.widgets.scene import Scene

ONLINE = "itkwidgets loads its viewer from a CDN while it draws: this notebook will contact the internet, and offline nothing appears"
# With them pydantic falls below 2, which synthkit's command line needs: they belong into an environment of their own.
BRIDGE = (
    "itkwidgets starts in Jupyter only with imjoy-jupyterlab-extension and imjoy-elfinder, which contact a CDN on every page and hold "
    'pydantic below 2: pip install them into an environment of their own, or use backend="niivue", which stays on this machine'
)


def itk(scene: Scene) -> Any:
    """The scene in itkwidgets, which must reach the internet; a warning says so first.

    Raises:
        MissingExtraError: the extra `itk` is not installed, or not what it needs in Jupyter.
        AbilityError: a pair, a signed map or a colour image, or no notebook.
    """
    from IPython import get_ipython

    try:
        from itkwidgets import view as itk_view
        from ngff_zarr import to_ngff_image
    except ImportError as error:
        raise MissingExtraError('the itk viewer is an extra: pip install "synthkit[itk]"; backend="niivue" needs no extra') from error
    except RuntimeError as error:
        raise MissingExtraError(BRIDGE) from error
    if get_ipython() is None:
        raise AbilityError('itk draws in a notebook only; backend="plotly" gives a figure anywhere')
    if scene.beside is not None or (scene.overlay and scene.overlay.kind == "signed") or len(scene.image.values) > 1:
        raise AbilityError('itk draws one grey image with a mask or labels; use backend="niivue" or "plotly" for pairs, signed maps and colours')
    warnings.warn(ONLINE, UserWarning, stacklevel=3)
    axes = ("z", "y", "x")[-len(scene.image.size) :]
    layout: dict[str, Any] = dict(dims=axes, scale=dict(zip(axes, scene.image.steps)))
    low, high = scene.image.window
    labels = dict(label_image=to_ngff_image(scene.overlay.values, **layout)) if scene.overlay else {}
    return itk_view(image=to_ngff_image(scene.image.values[0], **layout), vmin=low, vmax=high, **labels)
