"""Audio, subtitles, chapters and tags are copied where possible, in step with the frames, and cut with them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media_clips import number_of, numbered_image, packet_times, probe, result_of, write_clip
from recordings import contents_of, ffmpeg, frames_of, packets_of, record, sound_of, subtitles_of

from live_cam.sinks.video.sink import VideoSink
from live_cam.sources.aux_tracks import AuxTracks
from live_cam.sources.video import VideoSource

SUBTITLES = """1
00:00:00,500 --> 00:00:01,500
First words

2
00:00:02,000 --> 00:00:03,500
<i>Second</i> words
"""
CHAPTERS = """;FFMETADATA1
title=A video
artist=Somebody
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=first
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=4000
title=second
"""


@pytest.fixture(scope="module")
def source_video(tmp_path_factory) -> Path:
    """Four seconds in MKV: AAC in German, Vorbis in English, subtitles in French, two chapters and two tags."""
    folder = tmp_path_factory.mktemp("source")
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
    ffmpeg(*inputs, *maps, *languages, *first, *zero, folder / "source.mkv")
    return folder / "source.mkv"


def assert_in_step(path: Path, source_path: Path, start_seconds: float = 0.0) -> None:
    """Checks that each copied packet keeps its time relative to the first frame."""
    zero, source_zero = (packet_times(file)[0] for file in (path, source_path))
    source_zero += start_seconds
    times = {content: time - source_zero for content, time, _ in packets_of(source_path, "audio")}
    written = packets_of(path, "audio")
    assert written
    assert max(abs(time - zero - times[content]) for content, time, _ in written) < 1.5e-3  # MKV's milliseconds


def test_all_tracks_are_copied_from_mkv_to_mkv(source_video, tmp_path):
    sink = record(source_video, tmp_path / "out.mkv")
    assert sink.notices == ()
    # The first packet, the encoder's lead-in, is before the first frame; MKV cannot say "play from here".
    for index in range(2):
        assert contents_of(sink.path, "audio", index) == contents_of(source_video, "audio", index)[1:]
    assert packets_of(sink.path, "subtitle") == packets_of(source_video, "subtitle")
    assert_in_step(sink.path, source_video)


def test_tags_languages_and_chapters_are_copied(source_video, tmp_path):
    for name in ("out.mkv", "out.mp4", "out.webm"):
        sink = record(source_video, tmp_path / name)
        with av.open(str(sink.path)) as container:
            tags = {key.lower(): value for key, value in container.metadata.items()}
            assert (tags["title"], tags["artist"]) == ("A video", "Somebody"), name
            streams = [stream for stream in container.streams if stream.type in ("audio", "subtitle")]
            assert [stream.language for stream in streams] == ["ger", "eng", "fra"], name
            assert [int(stream.disposition) & 1 for stream in streams[:2]] == [0, 1], name  # English is the default
            chapters = [
                (chapter["metadata"]["title"], chapter["start"] * chapter["time_base"])
                for chapter in container.chapters()
            ]
            assert chapters == [("first", 0), ("second", 2)], name


def test_mp4_gets_aac_copied_and_vorbis_transcoded(source_video, tmp_path):
    sink = record(source_video, tmp_path / "out.mp4")
    assert sink.notices == ("audio track 2 (vorbis, eng) is transcoded to AAC: MP4 cannot hold it",)
    assert contents_of(sink.path, "audio", 0) == contents_of(source_video, "audio", 0)
    assert_in_step(sink.path, source_video)
    samples, first_seconds, rate = sound_of(sink.path, 1)
    assert first_seconds == pytest.approx(0, abs=0.03)
    spectrum = np.abs(np.fft.rfft(samples[rate : 2 * rate]))
    assert spectrum.argmax() == 880  # one second: one bin per hertz
    assert len(samples) / rate == pytest.approx(4, abs=0.05)
    assert float(probe(sink.path)["start_time"]) == 0
    assert float(probe(sink.path)["duration"]) == pytest.approx(4, abs=1e-3)


@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "mov_text"), ("out.mov", "mov_text"), ("out.webm", "webvtt")])
def test_text_subtitles_are_converted(source_video, tmp_path, name, codec):
    sink = record(source_video, tmp_path / name, audio=False)
    with av.open(str(sink.path)) as container:
        assert container.streams.subtitles[0].codec_context.codec.canonical_name == codec
        assert not container.streams.audio
    assert subtitles_of(sink.path).split("\n") == [*SUBTITLES.split("\n"), ""]


def test_webm_gets_opus(source_video, tmp_path):
    sink = record(source_video, tmp_path / "out.webm")
    assert sink.notices == ("audio track 1 (aac, ger) is transcoded to Opus: WebM cannot hold it",)
    assert contents_of(sink.path, "audio", 1) == contents_of(source_video, "audio", 1)[1:]  # less the lead-in
    samples, first_seconds, rate = sound_of(sink.path)
    assert np.abs(np.fft.rfft(samples[rate : 2 * rate])).argmax() == 440
    assert first_seconds == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("name", "title"), [("out.gif", "GIF"), ("out.avi", "AVI")])
def test_dropped_track_is_named(source_video, tmp_path, name, title):
    sink = record(source_video, tmp_path / name, audio=False)
    assert f"subtitle track 3 (subrip, fra) is left out: {title} cannot hold it" in sink.notices


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_audio_of_an_unknown_codec_is_left_out(source_video, tmp_path, name):
    (tmp_path / "in.mkv").write_bytes(source_video.read_bytes().replace(b"A_VORBIS", b"A_UNSAID"))
    sink = record(tmp_path / "in.mkv", tmp_path / name)
    title = Path(name).suffix[1:].upper()
    assert f"audio track 2 (unknown codec, eng) is left out: {title} cannot hold it" in sink.notices
    assert contents_of(sink.path, "audio", 0)[-10:] == contents_of(source_video, "audio", 0)[-10:]


def test_start_and_end_cut_audio_and_subtitles_with_the_frames(source_video, tmp_path):
    sink = record(source_video, tmp_path / "out.mkv", start=1.0, end=3.0)
    assert [number_of(image) for _, image in frames_of(sink.path)] == list(range(25, 75))
    begin, end = (packets_of(sink.path, "audio")[place][1] for place in (0, -1))
    assert 0 <= begin < 0.022  # an AAC packet lasts 21.3 ms
    assert 2 - 0.022 < end < 2
    copied, source = contents_of(sink.path, "audio"), contents_of(source_video, "audio")
    at = source.index(copied[0])
    assert copied == source[at : at + len(copied)]
    with av.open(str(source_video)) as container:
        heard = packets_of(source_video, "audio")[at][1] - float(container.streams.video[0].start_time / 1000)
    assert heard - 1.0 == pytest.approx(begin, abs=1.5e-3)
    spoken = packets_of(sink.path, "subtitle")
    assert [begin for _, begin, _ in spoken] == pytest.approx([0, 1], abs=2e-3)
    assert [duration for _, _, duration in spoken] == pytest.approx([0.5, 1], abs=2e-3)


def test_audio_of_a_cut_mp4_starts_with_its_first_frame(source_video, tmp_path):
    sink = record(source_video, tmp_path / "out.mp4", start=1.0, max_frames=25)
    stream = probe(sink.path)
    assert (float(stream["start_time"]), float(stream["duration"])) == (0, pytest.approx(1, abs=1e-3))
    with av.open(str(sink.path)) as container:
        assert container.duration / av.time_base == pytest.approx(1, abs=0.025)
    assert_in_step(sink.path, source_video, start_seconds=1.0)


def test_growing_file_has_audio(source_video, tmp_path):
    tracks = AuxTracks(source_video, 0.0)
    with VideoSink(tmp_path / "out.mp4", (64, 48), Fraction(25), tracks=tracks) as sink:
        for index in range(90):
            sink.write(result_of(numbered_image(index), index, index / 25))
        written = packets_of(sink.partial_path, "audio")
        assert 1.9 < written[-1][1] < 3.6
    assert contents_of(source_video, "audio")[: len(written)] == [content for content, _, _ in written]


def test_audio_longer_than_the_video_is_kept(tmp_path):
    write_clip(tmp_path / "clip.mp4", frame_count=25)
    sine = ["-f", "lavfi", "-i", "sine=440:d=2"]
    ffmpeg("-i", tmp_path / "clip.mp4", *sine, "-c:v", "copy", "-c:a", "aac", tmp_path / "long.mp4")
    sink = record(tmp_path / "long.mp4", tmp_path / "out.mp4")
    assert contents_of(sink.path, "audio") == contents_of(tmp_path / "long.mp4", "audio")


@pytest.mark.parametrize(("name", "coding"), [
    ("in.mkv", ["-c:a", "ac3"]),  # its header is only known from the first packet
    ("in.mkv", ["-c:a", "aac", "-ac", "6"]),
    ("in.mov", ["-c:a", "pcm_s16le"]),
    ("in.avi", ["-c:a", "pcm_s16le"]),
    ("in.ts", ["-c:a", "aac"]),
    ("in.mkv", ["-c:a", "libopus"]),
])  # fmt: skip
def test_other_audio_formats_are_kept_in_mp4(tmp_path, name, coding):
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
    """Writes ten minutes of frames 40 to 900 ms apart; every 40th is white, with a click at the same time."""
    rate = 8_000
    times_ms = np.cumsum(rng.integers(40, 900, 1250))
    times_ms = [0, *times_ms[times_ms < 600_000].tolist()]
    is_flash = [index % 40 == 20 for index in range(len(times_ms))]
    sound = np.zeros(600 * rate, np.float32)
    for time_ms in np.array(times_ms)[is_flash]:
        sound[time_ms * rate // 1000 : time_ms * rate // 1000 + 8] = 0.9
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        clicks = container.add_stream("aac", rate=rate)
        clicks.codec_context.layout = "mono"
        for time_ms, flashes in zip(times_ms, is_flash, strict=True):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 230 if flashes else 20, np.uint8), format="bgr24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
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
    return [first_seconds + sample / rate for sample in loud[np.diff(loud, prepend=-rate) > rate // 20]]


def test_audio_and_video_stay_in_step_for_ten_minutes_of_uneven_frames(tmp_path):
    click_and_flash(tmp_path / "in.mp4", np.random.default_rng(6))
    sink = record(tmp_path / "in.mp4", tmp_path / "out.mp4")
    assert contents_of(sink.path, "audio") == contents_of(tmp_path / "in.mp4", "audio")
    with VideoSource(tmp_path / "in.mp4") as source:
        times = [frame.time_seconds for frame in iter(source.read, None)]
    assert packet_times(sink.path) == pytest.approx(times, abs=1e-3)
    flashes, clicks = flash_times(sink.path), click_times(sink.path)
    assert len(flashes) == len(clicks) >= 30
    assert np.abs(np.subtract(flashes, clicks)).max() < 0.005  # a frame lasts 0.04 s and more
