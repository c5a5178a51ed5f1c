"""The viewer: what is drawn stands where the patient has it, in true proportions, marked as what it is, and nothing leaves the machine."""
import base64
import io
import json
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from plotly.graph_objects import Figure
from scipy import ndimage

from synthkit.core.cohort import Cohort
from synthkit.core.provenance import Provenance
from synthkit.core.schema import Schema
from synthkit.core.space import Channel, Space
from synthkit.data.nifti import volume
from synthkit.errors import AbilityError, DataError, MissingExtraError
from synthkit.widgets.niivue import affine, middle, nifti_bytes
from synthkit.widgets.overlay import BLUE, RED, overlay_for
from synthkit.widgets.planes import EDGES, MOST_SLICES, cut, planes
from synthkit.widgets.scene import scene
from synthkit.widgets.viewer import BACKENDS, view

SIZE, STEPS = (4, 6, 8), (5.0, 2.0, 1.0)
# The corner that a volume's first voxel is: slices run upward, rows to the back, columns to the patient's left.
RIGHT_FRONT_BOTTOM = (0, 0, 0)


def marked(size=SIZE):
    """Grey, with the first voxel white."""
    values = np.full(size, -0.5, np.float32)
    values[RIGHT_FRONT_BOTTOM] = 1
    return values


def cohort(*, kind="synthetic", size=SIZE, spacing=STEPS, channels=("T1",), count=1):
    space = Space(size, tuple(Channel(name) for name in channels), spacing)
    raw = np.random.default_rng(0).integers(0, 255, (count, *space.shape), np.uint8)
    table = pd.DataFrame({"image_id": [f"scan-{i}" for i in range(count)], "patient_id": [f"p{i}" for i in range(count)]})
    return Cohort.of(raw, table, schema=Schema(()), space=space, provenance=Provenance(kind, "head phantom"))


def drawn(source, **more):
    return scene(source, **{"overlay": None, "beside": None, "channel": None, "spacing_mm": None, **more})


def picture(address):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))))


def texts(widget):
    """All that a widget says in words."""
    return " ".join([getattr(widget, "value", ""), *(texts(child) for child in getattr(widget, "children", ()))])


def viewers(widget):
    import ipyniivue

    return [widget] if isinstance(widget, ipyniivue.NiiVue) else [v for child in getattr(widget, "children", ()) for v in viewers(child)]


def test_the_first_voxel_lies_right_front_bottom_in_millimetres():
    world = affine(SIZE, STEPS) @ [0, 0, 0, 1]
    # Half the way from the middle to the edge voxel's centre: (n - 1) / 2 steps.
    assert world[:3].tolist() == [3.5 * 1, 2.5 * 2, -1.5 * 5]
    last = affine(SIZE, STEPS) @ [7, 5, 3, 1]
    assert last[:3].tolist() == [-3.5, -5.0, 7.5]


def test_the_file_in_memory_says_left_back_up_and_its_spacing():
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(marked(), STEPS))
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S") and image.header.get_zooms() == (1, 2, 5)
    assert np.asarray(image.dataobj)[0, 0, 0] == 1 and np.asarray(image.dataobj).sum() == marked().sum()


def test_the_loader_reads_back_the_same_array():
    ramp = np.arange(np.prod(SIZE), dtype=np.int16).reshape(SIZE)
    pixels, _, spacing = volume(nibabel.Nifti1Image.from_bytes(nifti_bytes(ramp, STEPS)))
    order = pixels[0].ravel().argsort(kind="stable")
    assert pixels.shape == (1, *SIZE) and spacing == STEPS and (order == np.arange(ramp.size)).all()


def test_colours_keep_their_places_and_their_cover():
    over = overlay_for(marked() > 0, (1, *SIZE))
    image = nibabel.Nifti1Image.from_bytes(nifti_bytes(over.colours(over.values), STEPS))
    voxels = np.asarray(image.dataobj)
    assert image.header["datatype"] == 2304 and voxels.shape == SIZE[::-1]
    assert voxels["A"][0, 0, 0] > 0 and np.count_nonzero(voxels["A"]) == 1


def test_the_crosshair_starts_in_a_voxel():
    # Shares of the way to the right, front and up; the voxel (2, 3, 4) of (4, 6, 8) ends where the second half begins.
    assert middle(SIZE) == [1 - 4.5 / 8, 1 - 3.5 / 6, 2.5 / 4]


@pytest.mark.parametrize(("plane", "place"), [("axial", (0, 0)), ("coronal", (-1, 0)), ("sagittal", (-1, 0))])
def test_each_plane_shows_the_first_voxel_where_its_letters_say(plane, place):
    left, _, top, bottom = EDGES[plane]
    shown = cut(marked(), plane, 0)
    assert shown[place] == 1 and shown.size == np.prod(SIZE) // SIZE[[*EDGES].index(plane)]
    # The voxel lies right, in front and at the bottom.
    assert left in "RA" and (top if place[0] == 0 else bottom) in "AI"


def test_planes_are_drawn_in_true_proportions():
    figure = planes(marked(), spacing_mm=STEPS)
    for number, (down, across) in enumerate(((12, 8), (20, 8), (20, 12))):
        trace, axis = figure.data[number], figure.layout[f"xaxis{number + 1 if number else ''}"]
        height, width = picture(trace.source).shape[:2]
        assert (height * trace.dy, width * trace.dx) == (down, across)
        assert axis.range[1] - axis.range[0] == across
    assert not figure.layout.sliders


def test_where_spacing_is_unknown_none_is_claimed():
    text = planes(marked()[None]).layout.title.text
    assert "spacing unknown" in text and "mm" not in text


def test_sliders_show_every_slice():
    values = np.random.default_rng(0).uniform(-1, 1, SIZE).astype(np.float32)
    figure = view(values[None], backend="plotly")
    for number, plane in enumerate(EDGES):
        steps = figure.layout.sliders[number].steps
        assert len(steps) == SIZE[number]
        for index in (0, SIZE[number] - 1):
            changes, traces = steps[index].args
            wanted = np.clip((cut(values, plane, index) + 1) / 2 * 255 + 0.5, 0, 255).astype(np.uint8)
            assert (picture(changes["source"][0])[..., 0] == wanted).all() and list(traces) == [number]


def test_a_large_volume_is_thinned_and_says_so():
    figure = view(np.zeros((3, MOST_SLICES + 2, 4))[None], backend="plotly", spacing_mm=STEPS, overlay=np.ones((3, MOST_SLICES + 2, 4), bool))
    assert len(figure.layout.sliders[1].steps) == MOST_SLICES // 2 + 1 and "every 1 × 2 × 1 voxels" in figure.layout.title.text
    assert figure.data[0].dy == 4.0


def test_a_signed_map_has_equal_ranges_and_nothing_at_zero():
    over = overlay_for(np.array([[0.0, -3.0], [1.5, 3.0]]), (1, 2, 2))
    colours = over.colours(over.values)
    assert over.limit == 3 and (over.table[::-1, 3] == over.table[:, 3]).all()
    assert colours[0, 0, 3] == 0 and tuple(colours[1, 1]) == (*RED, 255) and tuple(colours[0, 1]) == (*BLUE, 255)
    bar = next(trace.marker for trace in view(np.zeros((2, 2)), overlay=over.values).data if trace.type == "scatter")
    assert (bar.cmin, bar.cmax) == (-3, 3)


@pytest.mark.parametrize("kind", [torch.float32, torch.bool, torch.int64])
def test_an_empty_overlay_is_transparent_and_said_to_be_empty(kind):
    over = overlay_for(torch.zeros(2, 2, dtype=kind), (1, 2, 2))
    assert not over.colours(over.values)[..., 3].any() and "nothing to see" in over.text


def test_labels_have_colours_of_their_own_and_none_is_transparent():
    labels = np.array([[0, 1], [2, 700]])
    colours = overlay_for(labels, (1, 2, 2)).colours(labels)
    assert colours[0, 0, 3] == 0 and len({tuple(c) for c in colours.reshape(-1, 4)}) == 4
    assert [trace.name for trace in view(np.zeros((2, 2)), overlay=labels).data if trace.type == "scatter"] == ["label 1", "label 2", "label 700"]


def test_an_attribution_with_channels_shows_that_of_the_channel():
    maps = np.stack([np.full((2, 2), value) for value in (1.0, 2.0)])
    assert drawn(np.zeros((2, 2, 2)), overlay=maps, channel=1).overlay.limit == 2
    assert drawn(np.zeros((3, 2, 2)), overlay=np.stack([*maps, maps[0] * 3])).overlay.limit == 2  # the mean over a colour image


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: view("scan.nii"), "a str; give a Cohort, an array or a tensor. Files are read by sk.load"),
        (lambda: view(None), "NoneType"),
        (lambda: view(cohort()[[]]), "empty cohort"),
        (lambda: view(np.zeros((1, 1, 4, 4, 4))), "one image, not a batch"),
        (lambda: view(np.zeros((2, 1, 8, 8))), "looks like a batch \\(N, 1, H, W\\); give one image, e.g. batch\\[0\\]"),
        (lambda: view(torch.zeros(1, 1, 8, 8)), "looks like a batch"),
        (lambda: view(np.zeros((8, 8, 3))), "\\(8, 8, 3\\): its channels stand last; move them to the front"),
        (lambda: view(np.zeros((8, 8, 4))), "channels stand last"),
        (lambda: view(np.zeros(4)), "give \\(H, W\\)"),
        (lambda: view(np.zeros((0, 4))), "\\(0, 4\\)"),
        (lambda: view(np.full((8, 4, 5), np.nan)), "160 of 160 values are NaN"),
        (lambda: view(np.array([["a"]])), "holds <U1 values"),
        (lambda: view(np.zeros((4, 4)), overlay=np.zeros((4, 5), bool)), "overlay has shape \\(4, 5\\), the image \\(4, 4\\)"),
        (lambda: view(np.zeros((4, 4)), overlay=np.full((4, 4), -1)), "labels are -1"),
        (lambda: view(np.zeros((4, 4)), overlay=np.full((4, 4), np.inf)), "16 NaN or infinite"),
        (lambda: view(np.zeros((3, 4, 4)), overlay=np.zeros((3, 4, 4), bool)), "a mask or label map over a colour image has none"),
        (lambda: view(np.zeros((4, 4)), overlay="mask.png"), "the overlay is a str"),
        (lambda: view(np.zeros((4, 4)), overlay={"heart": np.zeros((1, 4, 4))}), r"a dict of heart; pick one entry .*, e.g. masks\['heart'\]\[0\]"),
        (lambda: view(cohort(), overlay=cohort()), "the overlay is a Cohort; give a mask, .* a second image goes into beside="),
        (lambda: view(np.zeros((4, 4)), channel=True), "channel True is not one of 0"),
        (lambda: view(np.zeros((2, 4, 4)), channel=True), "channel True is not one of 0, 1"),
        (lambda: view(np.zeros((4, 4)), beside=np.zeros((5, 4))), "a linked pair needs equal ones"),
        (lambda: view(cohort(), beside=cohort(spacing=(1, 1, 1))), "a linked pair needs equal ones"),
        (lambda: view(np.zeros((4, 4)), spacing_mm=(1, 2, 3)), "give 2 positive millimetres"),
        (lambda: view(np.zeros((4, 4)), spacing_mm=(1, -2)), "positive"),
        (lambda: view(np.zeros((4, 4)), spacing_mm=2.0), "height, width"),
        (lambda: view(cohort(), spacing_mm=STEPS), "leave spacing_mm out"),
        (lambda: view(cohort(channels=("T1", "T2")), channel="FLAIR"), "'FLAIR' is not one of T1, T2"),
        (lambda: view(np.zeros((4, 4)), channel=1), "0..0"),
        (lambda: planes(np.zeros((4, 4))), "planes shows volumes"),
    ],
)
def test_a_mistake_is_named(make, words):
    with pytest.raises(DataError, match=words):
        make()


def test_few_slices_are_channels_unless_three_spacings_are_given():
    assert drawn(np.zeros((4, 6, 8))).image.channels == 4
    assert drawn(np.zeros((4, 6, 8)), spacing_mm=STEPS).image.size == SIZE and drawn(np.zeros((5, 6, 8))).volume


def test_with_spacings_a_narrow_volume_and_its_twin_are_volumes():
    for size in ((8, 8, 4), SIZE):
        found = drawn(np.zeros(size), beside=np.ones(size), spacing_mm=STEPS)
        assert [one.size for one in found.images] == [size, size]
    assert drawn(np.zeros((1, 8, 8, 3))).volume


def test_an_unknown_backend_is_answered_with_the_known_ones():
    with pytest.raises(AbilityError, match=f"'vtk' is not one of {', '.join(BACKENDS)}"):
        view(np.zeros((4, 4)), backend="vtk")


def test_niivue_refuses_a_colour_image():
    with pytest.raises(AbilityError, match="one channel"):
        view(np.zeros((3, 4, 4)), backend="niivue")


@pytest.mark.parametrize("backend", ["niivue", "plotly"])
def test_the_caption_says_what_is_synthetic(backend):
    shown = view(cohort(count=3), beside=cohort(kind="edited"), backend=backend)
    text = shown.layout.title.text if backend == "plotly" else texts(shown)
    for part in ("Synthetic: head phantom", "Edited: head phantom", "image scan-0, the first of 3", "5 × 2 × 1 mm", "slices run upward (S), rows to the back"):
        assert part in text
    assert "Synthetic: head phantom" in view(cohort(size=(4, 4), spacing=None)).layout.title.text


def test_words_of_a_source_are_text_not_markup():
    harmful = cohort()
    bad = Cohort.of(harmful.images.raw(), harmful.table, schema=harmful.schema, space=harmful.space, provenance=Provenance("real", "<img src=x>"))
    assert "<img" not in texts(view(bad)) and "<img" not in view(bad, backend="plotly").layout.title.text


def test_a_channel_can_be_chosen():
    two = cohort(channels=("T1", "T2"))
    assert (drawn(two, channel="T2").image.values == two.images[0].numpy()[1:]).all()
    assert "channel T1 of T1, T2" in texts(view(two))


@pytest.mark.parametrize(("ends", "window"), [((-1, 0.2), (-1, 1)), ((-0.1, 0.2), (-0.1, 0.2)), ((0, 4095), (0, 4095)), ((7, 7), (6, 8))])
def test_an_array_is_drawn_in_synthkits_scale_or_from_its_lowest_to_its_highest_value(ends, window):
    found = drawn(np.array([ends], float))
    assert found.image.window == pytest.approx(window)
    assert any(f"black is {window[0]:.3g}, white {window[1]:.3g}" in note for note in found.notes()) == (window != (-1, 1))


def test_a_pair_is_drawn_in_one_window_with_linked_axes():
    figure = view(np.array([[0.0, 4.0]]), beside=np.array([[0.0, 8.0]]))
    assert picture(figure.data[0].source)[0, 1, 0] == 128 and picture(figure.data[1].source)[0, 1, 0] == 255
    assert (figure.layout.xaxis2.matches, figure.layout.yaxis2.matches) == ("x", "y")


def test_a_pair_of_volumes_shares_its_crosshair_and_only_the_first_has_the_overlay():
    first, second = viewers(view(cohort(), beside=cohort(kind="edited"), overlay=marked() > 0))
    assert first.other_nv == [second] and second.other_nv == [first]
    assert [len(v.volumes) for v in (first, second)] == [2, 1]


def test_volumes_go_to_niivue_as_bytes_and_not_as_addresses():
    (viewer,) = viewers(view(cohort(), overlay=marked()))
    assert all(v.data and not v.url and not v.path for v in viewer.volumes)
    base = nibabel.Nifti1Image.from_bytes(viewer.volumes[0].data)
    assert np.allclose(np.asarray(base.dataobj).transpose(2, 1, 0), cohort().images[0][0].numpy())


def test_without_ipyniivue_planes_stand_in_and_say_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipyniivue", None)
    figure = view(cohort())
    assert isinstance(figure, Figure) and len(figure.layout.sliders) == 3 and "ipyniivue cannot be imported" in figure.layout.title.text
    with pytest.raises(MissingExtraError, match="pip install ipyniivue"):
        view(cohort(), backend="niivue")


def test_without_itkwidgets_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "itkwidgets", None)
    with pytest.raises(MissingExtraError, match=r'pip install "synthkit\[itk\]"'):
        view(cohort(), backend="itk")


def stand_in(monkeypatch):
    """itkwidgets and ngff_zarr that only take note of what they are given."""
    made = types.SimpleNamespace(view=lambda **given: given)
    monkeypatch.setitem(sys.modules, "itkwidgets", made)
    monkeypatch.setitem(sys.modules, "ngff_zarr", types.SimpleNamespace(to_ngff_image=lambda values, **layout: (values, layout)))
    monkeypatch.setattr("IPython.get_ipython", lambda: made)


def test_itk_warns_that_it_goes_online_and_gets_the_spacing(monkeypatch):
    stand_in(monkeypatch)
    with pytest.warns(UserWarning, match="CDN"):
        given = view(cohort(), overlay=marked() > 0, backend="itk")
    values, layout = given["image"]
    assert values.shape == SIZE and layout == {"dims": ("z", "y", "x"), "scale": {"z": 5.0, "y": 2.0, "x": 1.0}}
    assert given["label_image"][0].sum() == 1


def test_itk_says_what_it_cannot_draw_and_where(monkeypatch):
    stand_in(monkeypatch)
    with pytest.raises(AbilityError, match="one grey image"):
        view(cohort(), overlay=marked(), backend="itk")
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    with pytest.raises(AbilityError, match="in a notebook only"):
        view(cohort(), backend="itk")


def test_nothing_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for shown in (view(cohort(), overlay=marked()), view(cohort(), backend="plotly")):
        shown._repr_mimebundle_()
    assert list(tmp_path.rglob("*")) == []


def test_importing_the_viewer_imports_no_viewer():
    names = ("ipyniivue", "ipywidgets", "plotly", "nibabel", "itkwidgets")
    program = f"import sys, synthkit.widgets.viewer; print([n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stderr


NOTEBOOK = """import numpy as np
from synthkit.widgets.viewer import view
# White where it is right, in front and below: each plane shows that corner white.
values = np.full((24, 40, 32), -.6, np.float32)
values[:14, :24, :19] = 1
"""


def run_in_lab(page, address, folder):
    """A notebook with one view per backend, all cells run."""
    cells = [NOTEBOOK, *(f"view(values, spacing_mm=(4, 2, 2), backend={backend!r})" for backend in ("niivue", "plotly"))]
    code = [dict(cell_type="code", id=f"c{i}", metadata={}, source=source, outputs=[], execution_count=None) for i, source in enumerate(cells)]
    kernel = dict(name="python3", display_name="Python 3", language="python")
    (folder / "view.ipynb").write_text(json.dumps(dict(cells=code, metadata=dict(kernelspec=kernel), nbformat=4, nbformat_minor=5)))
    page.goto(f"{address}/lab/tree/view.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=90_000)
    page.locator(".jp-Notebook .jp-Cell").first.click()
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).first.click()
    page.wait_for_selector(".jp-OutputArea canvas", timeout=120_000)
    page.wait_for_selector(".jp-OutputArea .js-plotly-plot .nsewdrag", state="attached", timeout=120_000)


def photograph(place):
    place.scroll_into_view_if_needed()
    return np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB")).astype(int)


def tiles(pixels):
    """The grey rectangles of a screenshot, from the top left on; crosshair and letters are yellow."""
    pixels = pixels[4:-4, 4:-4]  # without the page around it
    grey = (pixels.max(-1) - pixels.min(-1) < 16) & (pixels.min(-1) > 40)
    found, _ = ndimage.label(ndimage.binary_dilation(grey, iterations=3))
    boxes = [box for box in ndimage.find_objects(found) if grey[box].sum() > 4000]
    return [pixels[box].mean(-1) for box in sorted(boxes, key=lambda box: (box[0].start // 100, box[1].start))]


def bright_corner(tile):
    """Which corner is brightest, as "top left"."""
    height, width = tile.shape
    rows = {"top": slice(height // 10, height // 3), "bottom": slice(-height // 3, -height // 10)}
    columns = {"left": slice(width // 10, width // 3), "right": slice(-width // 3, -width // 10)}
    means = {f"{down} {across}": tile[rows[down], columns[across]].mean() for down in rows for across in columns}
    best, second = sorted(means, key=means.get, reverse=True)[:2]
    assert means[best] > means[second] + 60
    return best


@pytest.mark.slow
def test_a_marked_corner_appears_in_its_corner_and_no_request_leaves_the_machine(lab, browser):
    address, folder = lab
    page, outside, errors = browser.new_page(viewport={"width": 1500, "height": 1500}), [], []
    page.on("request", lambda request: outside.append(request.url) if request.url.startswith("http") and "127.0.0.1" not in request.url else None)
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    run_in_lab(page, address, folder)
    deadline, seen = time.time() + 90, []
    while len(seen) < 4 and time.time() < deadline:
        time.sleep(3)
        seen = tiles(photograph(page.locator(".jp-OutputArea canvas").first))
    # Coronal and sagittal above, axial and the rendering below.
    assert [bright_corner(tile) for tile in seen[:3]] == ["bottom left", "bottom left", "top left"]
    assert [round(tile.shape[0] / tile.shape[1], 1) for tile in seen[:3]] == [1.5, 1.2, 1.2]
    figure = page.locator(".jp-OutputArea .js-plotly-plot").first
    whole, base = photograph(figure), figure.bounding_box()
    boxes = [figure.locator(".nsewdrag").nth(i).bounding_box() for i in range(3)]
    panels = [whole[int(b["y"] - base["y"]) :, int(b["x"] - base["x"]) :][: int(b["height"]), : int(b["width"])].mean(-1) for b in boxes]
    assert [bright_corner(panel) for panel in panels] == ["top left", "bottom left", "bottom left"]
    assert outside == [] and [e for e in errors if "favicon" not in e] == []
