"""Volumes in NiiVue: three planes and a 3D rendering in one widget, drawn by the browser from bytes in memory."""
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from synthkit.errors import AbilityError, MissingExtraError
from synthkit.widgets.scene import Scene
from synthkit.widgets.shown import Shown

if TYPE_CHECKING:
    from ipyniivue import NiiVue
    from ipywidgets import Box

HEIGHT = 520
YELLOW = (1.0, 0.84, 0.29, 0.9)
LINKED = {"2d": True, "3d": True, "cal_min": True, "cal_max": True}


def affine(size: tuple[int, ...], steps: tuple[float, ...]) -> np.ndarray:
    """(4, 4) map from NIfTI voxel (column, row, slice) to world millimetres (to the right, to the front, up), 0 in the middle.

    Columns run to the patient's left and rows to the back, so both steps are negative.
    """
    across = np.array([-1, -1, 1]) * steps[::-1]
    middle = (np.array(size[::-1]) - 1) / 2
    return np.block([[np.diag(across), -(across * middle)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def nifti_bytes(values: np.ndarray, steps: tuple[float, ...]) -> bytes:
    """A NIfTI file in memory of (D, H, W) values, or (D, H, W, 4) uint8 colours, with these steps between voxels."""
    import nibabel

    if values.ndim == 4:
        values = np.ascontiguousarray(values).view([(name, "u1") for name in "RGBA"])[..., 0]
    image = nibabel.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine(values.shape, steps))
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def niivue(scene: Scene) -> "Box":
    """The scene as a widget; a pair stands side by side with one crosshair.

    Raises:
        MissingExtraError: ipyniivue is not installed.
        AbilityError: a colour image.
    """
    try:
        import ipyniivue
        from ipywidgets import HTML, HBox, VBox
    except ImportError as error:
        raise MissingExtraError('the viewer needs ipyniivue: pip install ipyniivue, or view with backend="plotly"') from error
    if len(scene.image.values) > 1:
        raise AbilityError('niivue draws one channel; give channel=, or backend="plotly" for a colour image')
    viewers = [_viewer(ipyniivue, scene, one) for one in scene.images]
    for one, other in zip(viewers, viewers[::-1]) if len(viewers) == 2 else ():
        one.broadcast_to(other, LINKED)
    parts = [VBox([HTML(f"<b>{escape(image.title)}</b>"), viewer], layout={"flex": "1 1 0", "min_width": "0"}) for image, viewer in zip(scene.images, viewers)]
    colours = scene.overlay.legend.items() if scene.overlay and scene.overlay.kind == "labels" else ()
    lines = [*map(escape, scene.notes()), " ".join(f'<span style="color:rgb{colour}">■</span> {label}' for label, colour in [*colours][:20])]
    return VBox([HBox(parts), HTML("".join(f'<div style="font-size:12px;line-height:1.4">{line}</div>' for line in lines))])


def _viewer(ipyniivue: Any, scene: Scene, image: Shown) -> "NiiVue":
    kind = ipyniivue.SliceType
    viewer = ipyniivue.NiiVue(
        height=HEIGHT if len(scene.images) == 1 else 420, slice_type=kind.MULTIPLANAR if scene.volume else kind.AXIAL,
        multiplanar_show_render=ipyniivue.ShowRender.ALWAYS, multiplanar_layout=ipyniivue.MultiplanarType.GRID,
        is_radiological_convention=True, sagittal_nose_left=True, is_orientation_text_visible=scene.volume,
        show_all_orientation_markers=True, multiplanar_pad_pixels=8, font_color=YELLOW, crosshair_color=YELLOW,
        is_force_mouse_click_to_voxel_centers=True, crosshair_width_unit="mm", crosshair_width=0.25 * min(image.steps) if scene.volume else 0.0,
    )  # fmt: skip
    steps = image.steps if scene.volume else (1.0, *image.steps)
    low, high = image.window
    volume = dict(data=nifti_bytes(image.values.reshape(_deep(image.size)), steps), name="image.nii", colormap="gray", cal_min=low, cal_max=high)
    over = scene.overlay if image is scene.image else None
    # As colours with their own cover, so that they are those of the plotly figures: NiiVue's maps and label tables draw small values opaque.
    layers = [dict(data=nifti_bytes(over.colours(over.values.reshape(_deep(image.size))), steps), name="overlay.nii")] if over else []
    viewer.load_volumes([volume, *layers])
    # In the middle of the middle voxel: between two voxels it would show colours that neither has.
    viewer.scene.crosshair_pos = middle(_deep(image.size))
    return viewer


def middle(size: tuple[int, ...]) -> list[float]:
    """Place of the middle voxel (D, H, W) // 2 as shares of the way to the right, to the front and up."""
    depth, height, width = ((n // 2 + 0.5) / n for n in size)
    return [1 - width, 1 - height, depth]


def _deep(size: tuple[int, ...]) -> tuple[int, ...]:
    return size if len(size) == 3 else (1, *size)
