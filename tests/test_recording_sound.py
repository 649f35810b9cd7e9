"""Sound, subtitles and tags come along: copied where they can be, in step with the pictures, cut where those are."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, packet_times, probe, write_clip
from recordings import contents_of, ffmpeg, frames_of, packets_of, record, sound_of, subtitles_of

from live_cam.sources.tracks import SideTracks
from live_cam.sources.video import VideoSource

SUBTITLES = """1
00:00:00,500 --> 00:00:01,500
First words

2
00:00:02,000 --> 00:00:03,500
<i>Second</i> words
"""
CHAPTERS = """;FFMETADATA1
title=A film
artist=Somebody
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=one
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=4000
title=two
"""


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """Four seconds in MKV: AAC in German, Vorbis in English, subtitles in French, two chapters and two tags."""
    folder = tmp_path_factory.mktemp("film")
    write_clip(folder / "clip.mkv", frame_count=100)
    (folder / "words.srt").write_text(SUBTITLES)
    (folder / "about.txt").write_text(CHAPTERS)
    inputs = ["-i", folder / "clip.mkv"]
    inputs += ["-f", "lavfi", "-i", "sine=440:d=4:r=48000", "-f", "lavfi", "-i", "sine=880:d=4:r=48000"]
    inputs += ["-i", folder / "words.srt", "-i", folder / "about.txt"]
    maps = ["-map", 0, "-map", 1, "-map", 2, "-map", 3, "-map_metadata", 4, "-c:v", "copy", "-c:s", "srt"]
    languages = [
        "-metadata:s:a:0",
        "language=ger",
        "-metadata:s:a:1",
        "language=eng",
        "-metadata:s:s:0",
        "language=fra",
    ]
    first = ["-disposition:a:0", 0, "-disposition:a:1", "default"]
    # Without this, ffmpeg would move everything by the 21 ms that AAC begins early.
    zero = ["-c:a:0", "aac", "-c:a:1", "libvorbis", "-avoid_negative_ts", "disabled"]
    ffmpeg(*inputs, *maps, *languages, *first, *zero, folder / "film.mkv")
    return folder / "film.mkv"


def assert_in_step(path: Path, source_path: Path, start_seconds: float = 0.0) -> None:
    """Each copied packet has the time it had, counted from the first picture."""
    zero, source_zero = (packet_times(one)[0] for one in (path, source_path))
    source_zero += start_seconds
    times = {content: time - source_zero for content, time, _ in packets_of(source_path, "audio")}
    written = packets_of(path, "audio")
    assert written
    assert max(abs(time - zero - times[content]) for content, time, _ in written) < 1.5e-3  # MKV's milliseconds


def test_all_tracks_are_copied_from_mkv_to_mkv(film, tmp_path):
    sink = record(film, tmp_path / "out.mkv")
    assert sink.lines == ()
    # The first packet, an encoder's lead-in, lies before the first picture, and MKV cannot say "play from here".
    for index in range(2):
        assert contents_of(sink.path, "audio", index) == contents_of(film, "audio", index)[1:]
    assert packets_of(sink.path, "subtitle") == packets_of(film, "subtitle")
    assert_in_step(sink.path, film)


def test_tags_languages_and_chapters_come_along(film, tmp_path):
    for name in ("out.mkv", "out.mp4", "out.webm"):
        sink = record(film, tmp_path / name)
        with av.open(str(sink.path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            assert (tags["title"], tags["artist"]) == ("A film", "Somebody"), name
            streams = [one for one in container.streams if one.type in ("audio", "subtitle")]
            assert [one.language for one in streams] == ["ger", "eng", "fra"], name
            assert [int(one.disposition) & 1 for one in streams[:2]] == [0, 1], name  # the English one is the default
            chapters = [(one["metadata"]["title"], one["start"] * one["time_base"]) for one in container.chapters()]
            assert chapters == [("one", 0), ("two", 2)], name


def test_mp4_gets_aac_as_it_is_and_vorbis_coded_anew(film, tmp_path):
    sink = record(film, tmp_path / "out.mp4")
    assert sink.lines == ("sound track 2 (vorbis, eng) is coded anew as AAC: MP4 cannot hold it",)
    assert contents_of(sink.path, "audio", 0) == contents_of(film, "audio", 0)
    assert_in_step(sink.path, film)
    samples, first_seconds, rate = sound_of(sink.path, 1)
    assert first_seconds == pytest.approx(0, abs=0.03)
    spectrum = np.abs(np.fft.rfft(samples[rate : 2 * rate]))
    assert spectrum.argmax() == 880  # one second: a bin a hertz
    assert len(samples) / rate == pytest.approx(4, abs=0.05)
    assert float(probe(sink.path)["start_time"]) == 0
    assert float(probe(sink.path)["duration"]) == pytest.approx(4, abs=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "mov_text"), ("out.mov", "mov_text"), ("out.webm", "webvtt")])
def test_text_subtitles_are_rewritten(film, tmp_path, name, codec):
    sink = record(film, tmp_path / name, with_sound=False)
    with av.open(str(sink.path)) as container:
        assert container.streams.subtitles[0].codec_context.codec.canonical_name == codec
        assert not container.streams.audio
    assert subtitles_of(sink.path).split("\n") == pytest.approx(SUBTITLES.split("\n") + [""])


def test_webm_gets_opus(film, tmp_path):
    sink = record(film, tmp_path / "out.webm")
    assert sink.lines == ("sound track 1 (aac, ger) is coded anew as Opus: WebM cannot hold it",)
    assert contents_of(sink.path, "audio", 1) == contents_of(film, "audio", 1)[1:]  # less the lead-in
    samples, first_seconds, rate = sound_of(sink.path)
    assert np.abs(np.fft.rfft(samples[rate : 2 * rate])).argmax() == 440
    assert first_seconds == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("name", "title"), [("out.gif", "GIF"), ("out.avi", "AVI")])
def test_what_cannot_go_is_named(film, tmp_path, name, title):
    sink = record(film, tmp_path / name, with_sound=False)
    assert f"subtitle track 3 (subrip, fra) is left out: {title} cannot hold it" in sink.lines


def test_start_and_end_cut_sound_and_subtitles_with_the_pictures(film, tmp_path):
    sink = record(film, tmp_path / "out.mkv", start=1.0, end=3.0)
    assert [number_of(image) for _, image in frames_of(sink.path)] == list(range(25, 75))
    begin, end = (packets_of(sink.path, "audio")[place][1] for place in (0, -1))
    assert 0 <= begin < 0.022  # an AAC packet lasts 21.3 ms
    assert 2 - 0.022 < end < 2
    copied, source = contents_of(sink.path, "audio"), contents_of(film, "audio")
    at = source.index(copied[0])
    assert copied == source[at : at + len(copied)]
    with av.open(str(film)) as container:
        heard = packets_of(film, "audio")[at][1] - float(container.streams.video[0].start_time / 1000)
    assert heard - 1.0 == pytest.approx(begin, abs=1.5e-3)
    spoken = packets_of(sink.path, "subtitle")
    assert [begin for _, begin, _ in spoken] == pytest.approx([0, 1], abs=2e-3)
    assert [duration for _, _, duration in spoken] == pytest.approx([0.5, 1], abs=2e-3)


def test_a_cut_mp4_begins_to_sound_with_its_first_picture(film, tmp_path):
    sink = record(film, tmp_path / "out.mp4", start=1.0, max_frames=25)
    stream = probe(sink.path)
    assert (float(stream["start_time"]), float(stream["duration"])) == (0, pytest.approx(1, abs=1e-3))
    with av.open(str(sink.path)) as container:
        assert container.duration / av.time_base == pytest.approx(1, abs=0.025)
    assert_in_step(sink.path, film, start_seconds=1.0)


def test_the_growing_file_has_sound(film, tmp_path):
    from media_clips import numbered_image, result_of

    from live_cam.sinks.video import VideoSink

    tracks = SideTracks(film, 0.0)
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25), tracks=tracks) as sink:
        for index in range(90):
            sink.write(result_of(numbered_image(index), index, index / 25))
        written = packets_of(sink.partial_path, "audio")
        assert 1.9 < written[-1][1] < 3.6
    assert contents_of(film, "audio")[: len(written)] == [content for content, _, _ in written]


def test_sound_that_outlasts_the_pictures_is_kept(tmp_path):
    write_clip(tmp_path / "clip.mp4", frame_count=25)
    sine = ["-f", "lavfi", "-i", "sine=440:d=2"]
    ffmpeg("-i", tmp_path / "clip.mp4", *sine, "-c:v", "copy", "-c:a", "aac", tmp_path / "long.mp4")
    sink = record(tmp_path / "long.mp4", tmp_path / "out.mp4")
    assert contents_of(sink.path, "audio") == contents_of(tmp_path / "long.mp4", "audio")


@pytest.mark.parametrize(("name", "coding"), [
    ("in.mkv", ["-c:a", "ac3"]),  # whose header is known from its first packet only
    ("in.mkv", ["-c:a", "aac", "-ac", "6"]),
    ("in.mov", ["-c:a", "pcm_s16le"]),
    ("in.avi", ["-c:a", "pcm_s16le"]),
    ("in.ts", ["-c:a", "aac"]),
    ("in.mkv", ["-c:a", "libopus"]),
])  # fmt: skip
def test_other_layouts_arrive_in_mp4(tmp_path, name, coding):
    write_clip(tmp_path / "clip.mp4", frame_count=50)
    sine = ["-f", "lavfi", "-i", "sine=440:d=2:r=48000"]
    ffmpeg("-i", tmp_path / "clip.mp4", *sine, "-c:v", "copy", *coding, tmp_path / name)
    sink = record(tmp_path / name, tmp_path / "out.mp4")
    samples, first_seconds, rate = sound_of(sink.path)
    assert np.abs(np.fft.rfft(samples[rate // 2 : rate // 2 + rate])).argmax() == 440
    assert len(samples) / rate == pytest.approx(2, abs=0.1)
    assert first_seconds == pytest.approx(0, abs=0.05)
    assert len(frames_of(sink.path)) == 50


def click_and_flash(path: Path, rng: np.random.Generator) -> None:
    """Ten minutes: pictures 40 to 900 ms apart, some of them white, each of those with a click at its very time."""
    rate = 8_000
    times_ms = np.cumsum(rng.integers(40, 900, 1250))
    times_ms = [0, *times_ms[times_ms < 600_000].tolist()]
    is_flash = [index % 40 == 20 for index in range(len(times_ms))]
    sound = np.zeros(600 * rate, np.float32)
    for time_ms in np.array(times_ms)[is_flash]:
        sound[time_ms * rate // 1000 : time_ms * rate // 1000 + 8] = 0.9
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        pictures.codec_context.time_base = Fraction(1, 1000)
        clicks = container.add_stream("aac", rate=rate)
        clicks.codec_context.layout = "mono"
        for time_ms, flashes in zip(times_ms, is_flash, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 230 if flashes else 20, np.uint8), format="bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode(None))
        for begin in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, begin : begin + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
            container.mux(clicks.encode(frame))
        container.mux(clicks.encode(None))


def flash_times(path: Path) -> list[float]:
    return [time for time, image in frames_of(path) if image.mean() > 125]


def click_times(path: Path) -> list[float]:
    samples, first_seconds, rate = sound_of(path)
    loud = np.flatnonzero(np.abs(samples) > 0.4)
    return [first_seconds + one / rate for one in loud[np.diff(loud, prepend=-rate) > rate // 20]]


def test_sound_and_picture_stay_together_for_ten_minutes_of_uneven_frames(tmp_path):
    click_and_flash(tmp_path / "in.mp4", np.random.default_rng(6))
    sink = record(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert contents_of(sink.path, "audio") == contents_of(tmp_path / "in.mp4", "audio")
    with VideoSource(tmp_path / "in.mp4") as source:
        times = [frame.time_seconds for frame in iter(source.read, None)]
    assert packet_times(sink.path) == pytest.approx(times, abs=1e-3)
    flashes, clicks = flash_times(sink.path), click_times(sink.path)
    assert len(flashes) == len(clicks) >= 30
    assert np.abs(np.subtract(flashes, clicks)).max() < 0.005  # a frame lasts 0.04 s and more
