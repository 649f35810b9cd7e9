"""Fitting frames to the network's input: what the network sees, where that lies in the frame, and how it is resized."""

import cv2
import numpy as np
import pytest

from live_cam.errors import SettingError
from live_cam.preprocess import PAD_COLOR_BGR, PREPROCESSINGS, FrameFitter, normalization_kernel


def frame_of(width, height, color=(10, 200, 90)):
    return np.full((height, width, 3), color, np.uint8)


def natural_noise(width, height):
    """Colors with detail at every scale, stronger at coarser ones, as in photographs."""
    generator = np.random.default_rng(0)
    total = np.zeros((height, width, 3))
    for cell in (2, 4, 8, 16, 32, 64):
        coarse = generator.uniform(-1, 1, (height // cell + 2, width // cell + 2, 3))
        total += cell**0.8 * cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 60 * total / total.std(), 0, 255).astype(np.uint8)


def rms(difference):
    return np.sqrt(np.mean(np.square(difference)))


def shrunk_exactly(image, target_wh, kernel, support):
    """The textbook filter: the kernel stretched by the shrinking factor, in float64, with weights that sum to 1."""

    def matrix(source, target):
        factor = max(1.0, source / target)
        centers = (np.arange(target) + 0.5) * source / target - 0.5
        distances = (np.arange(source)[None, :] - centers[:, None]) / factor
        weights = np.where(np.abs(distances) < support, kernel(np.abs(distances)), 0.0)
        return weights / weights.sum(axis=1, keepdims=True)

    width, height = target_wh
    rows = np.einsum("ys,sxc->yxc", matrix(image.shape[0], height), image.astype(float))
    return np.clip(np.einsum("xs,ysc->yxc", matrix(image.shape[1], width), rows), 0, 255)


def triangle(x):
    return 1 - x


def keys_cubic(x):
    """Keys 1981 with a = -1/2."""
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("frame_wh", [(640, 480), (480, 640), (176, 144), (1, 1), (1921, 1081), (3, 500)])
def test_pixels_are_one_contiguous_image_of_the_input_size(fit, frame_wh):
    pixels, _ = FrameFitter((224, 160), fit).fit(frame_of(*frame_wh))
    assert (pixels.shape, pixels.dtype) == ((1, 160, 224, 3), np.uint8)
    assert pixels.flags.c_contiguous


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("frame_wh", [(640, 480), (100, 80), (1920, 1080), (4000, 3000)])
def test_an_image_of_one_color_keeps_that_color(fit, frame_wh):
    pixels, _ = FrameFitter((224, 224), fit).fit(frame_of(*frame_wh))
    assert np.unique(pixels.reshape(-1, 3), axis=0).tolist() == [[10, 200, 90]]


def test_stretch_shows_the_whole_frame():
    _, region = FrameFitter((224, 224), "stretch").fit(frame_of(641, 479))
    assert region == (0.0, 0.0, 1.0, 1.0)


def test_crop_shows_the_middle_square_of_seven_eighths_of_the_shorter_side():
    image = frame_of(640, 480, (0, 0, 0))
    image[30:450, 110:530] = 255  # 420 = 0.875 * 480, in the middle
    pixels, region = FrameFitter((224, 224), "crop").fit(image)
    assert (pixels == 255).all()
    assert region == (110 / 640, 30 / 480, 420 / 640, 420 / 480)


def test_crop_keeps_the_aspect_ratio_of_an_input_that_is_not_square():
    _, region = FrameFitter((200, 100), "crop").fit(frame_of(640, 480))
    # The width is the limit: 0.875 * 640 = 560 wide, and half of that high.
    assert region == (40 / 640, 100 / 480, 560 / 640, 280 / 480)


def test_pad_shows_the_whole_frame_between_bars_outside_of_it():
    pixels, region = FrameFitter((224, 224), "pad").fit(frame_of(640, 480))
    assert (pixels[0, 28:196] == (10, 200, 90)).all()  # 480 * 224 / 640 = 168 rows, 28 above and below
    assert (pixels[0, :28] == PAD_COLOR_BGR).all()
    assert (pixels[0, 196:] == PAD_COLOR_BGR).all()
    assert region == pytest.approx((0, -28 / 168, 1, 224 / 168))


def test_the_bars_move_when_the_aspect_ratio_of_the_frames_changes():
    fitter = FrameFitter((224, 224), "pad")
    fitter.fit(frame_of(480, 640))
    pixels, _ = fitter.fit(frame_of(640, 480))
    fresh, _ = FrameFitter((224, 224), "pad").fit(frame_of(640, 480))
    assert (pixels == fresh).all()


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("frame_wh", [(640, 480), (333, 500), (150, 110), (1280, 720)])
def test_the_region_is_where_the_pixels_come_from(fit, frame_wh):
    """Gray ramps along both axes: the value of an input pixel tells where in the frame it comes from."""
    width, height = frame_wh
    fractions_x, fractions_y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    ramps = np.zeros((height, width, 3))
    ramps[..., 0], ramps[..., 1] = fractions_x[None, :] * 255, fractions_y[:, None] * 255
    pixels, (left, top, region_width, region_height) = FrameFitter((224, 224), fit).fit(
        np.round(ramps).astype(np.uint8)
    )
    positions = (np.arange(40, 184) + 0.5) / 224  # far from bars and edges
    seen_x, seen_y = pixels[0, 112, 40:184, 0] / 255, pixels[0, 40:184, 112, 1] / 255
    inside_x = (left + positions * region_width > 0.02) & (left + positions * region_width < 0.98)
    inside_y = (top + positions * region_height > 0.02) & (top + positions * region_height < 0.98)
    np.testing.assert_allclose(seen_x[inside_x], (left + positions * region_width)[inside_x], atol=1.5 / 255)
    np.testing.assert_allclose(seen_y[inside_y], (top + positions * region_height)[inside_y], atol=1.5 / 255)


@pytest.mark.parametrize("frame_wh", [(500, 375), (640, 480), (333, 500), (960, 720), (1920, 1080)])
@pytest.mark.parametrize(("fit", "kernel", "support"), [("stretch", triangle, 1), ("crop", keys_cubic, 2)])
def test_shrinking_is_close_to_the_antialiased_filter(fit, kernel, support, frame_wh):
    image = natural_noise(*frame_wh)
    pixels, (left, top, width, height) = FrameFitter((224, 224), fit).fit(image)
    rows = slice(round(top * frame_wh[1]), round((top + height) * frame_wh[1]))
    columns = slice(round(left * frame_wh[0]), round((left + width) * frame_wh[0]))
    exact = shrunk_exactly(image[rows, columns], (224, 224), kernel, support)
    assert rms(pixels[0] - exact) < 2.25
    if fit == "stretch":
        plain = cv2.resize(image, (224, 224), interpolation=cv2.INTER_LINEAR)
        assert rms(pixels[0] - exact) < 0.6 * rms(plain - exact)


def test_fine_stripes_become_gray_and_not_a_moire_pattern():
    stripes = np.zeros((720, 1280, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels, _ = FrameFitter((224, 224)).fit(stripes)
    aliased = cv2.resize(stripes, (224, 224), interpolation=cv2.INTER_LINEAR)
    assert pixels[0, :, 8:-8].std() < 0.3 * aliased[:, 8:-8].std()


def test_a_frame_that_is_a_mirrored_view_of_another_is_read_correctly():
    image = natural_noise(640, 480)
    expected = FrameFitter((224, 224)).fit(np.ascontiguousarray(image[:, ::-1]))[0].copy()
    assert (FrameFitter((224, 224)).fit(image[:, ::-1])[0] == expected).all()


def test_the_memory_is_reused():
    fitter = FrameFitter((224, 224))
    first, _ = fitter.fit(frame_of(640, 480))
    second, _ = fitter.fit(frame_of(320, 240))
    assert first is second


def test_the_error_for_an_unknown_fit_names_the_nearest():
    with pytest.raises(SettingError, match=r"unknown fit 'strech'; did you mean stretch\?"):
        FrameFitter((224, 224), "strech")


@pytest.mark.parametrize(
    ("name", "dark", "bright"),
    [
        ("raw", (0, 0, 0), (255, 255, 255)),
        ("unit", (0, 0, 0), (1, 1, 1)),
        ("tf", (-1, -1, -1), (1, 1, 1)),
        ("lite", (-127 / 128,) * 3, (1, 1, 1)),
        # torchvision: 0..1 minus mean (0.485, 0.456, 0.406) divided by standard deviation (0.229, 0.224, 0.225).
        ("torch", (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225), (0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225)),
        ("caffe", (-103.939, -116.779, -123.68), (151.061, 138.221, 131.32)),
    ],
)
def test_black_and_white_become_the_ends_of_each_range(name, dark, bright):
    preprocessing = PREPROCESSINGS[name]
    assert preprocessing.name == name
    assert preprocessing.color_order == ("bgr" if name == "caffe" else "rgb")
    np.testing.assert_allclose((0 - np.array(preprocessing.mean)) / preprocessing.std, dark, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose((255 - np.array(preprocessing.mean)) / preprocessing.std, bright, rtol=1e-6)


@pytest.mark.parametrize("name", PREPROCESSINGS)
def test_the_normalization_kernel_reorders_and_normalizes(name):
    preprocessing = PREPROCESSINGS[name]
    pixels_bgr = np.random.default_rng(0).integers(0, 256, (5, 3)).astype(np.float64)
    ordered = pixels_bgr if preprocessing.color_order == "bgr" else pixels_bgr[:, ::-1]
    expected = (ordered - preprocessing.mean) / preprocessing.std
    kernel, bias = normalization_kernel(preprocessing, 3)
    np.testing.assert_allclose(pixels_bgr @ kernel + bias, expected, rtol=1e-5, atol=1e-5)
    gray_kernel, gray_bias = normalization_kernel(preprocessing, 1)
    luma = [0.299, 0.587, 0.114] if preprocessing.color_order == "rgb" else [0.114, 0.587, 0.299]
    np.testing.assert_allclose((pixels_bgr @ gray_kernel + gray_bias)[:, 0], expected @ luma, rtol=1e-5, atol=1e-5)
