"""Which frame a row of labels means: by its number, by the names of images, or by their order."""

from __future__ import annotations

import numpy as np
import pytest

from tracknet.data.faults import Fault


def kinds(faults: list[Fault]) -> list[tuple[str, int | None]]:
    return [(fault.kind, fault.line) for fault in faults]


def test_file_names_mean_the_position_of_the_image(read):
    header = "file name,visibility,x-coordinate,y-coordinate,status\n"
    images = ["0005.png", "0006.png", "0007.png"]
    labels, faults = read(header + "0005.jpg,1,5,5,0\n0007.png,1,7,7,0\n0009.jpg,1,9,9,0\n", images=images)
    assert kinds(faults) == [("beyond-video", 4), ("missing-frames", None)]
    assert "'0009.jpg' is not among the 3 images" in str(faults[0])
    assert labels.xy[:, 0].tolist() == [5, 0, 7]


def test_file_names_without_images_are_numbers(read):
    header = "file name,visibility,x-coordinate,y-coordinate,status\n"
    labels, faults = read(header + "clip7_0002.jpg,1,5,5,0\n0000.jpg,0,,,\nball.jpg,1,5,5,0\n")
    assert kinds(faults) == [("bad-number", 4), ("missing-frames", None)]
    assert "'ball.jpg' holds no frame number" in str(faults[0])
    assert labels.visible.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("images", "rows", "places", "found"),
    [
        (range(6), range(6), range(6), []),
        (range(1, 7), range(1, 7), range(1, 7), []),
        (range(1, 7), range(1, 5), [1, 2, 3, 4, None, None], [("missing-frames", None)]),
        ((0, 1, 3, 4), (0, 1, 3, 4), (0, 1, 3, 4), []),
        ((0, 1, 3), range(4), (0, 1, 3), [("beyond-video", 4)]),
        # The first image is gone.
        (range(1, 6), range(6), range(1, 6), [("beyond-video", 2)]),
        # Images were taken out of a video from 1 on.
        (range(1, 7), range(6), range(6), [("other-numbers", None)]),
        ((9,), (0,), (0,), [("other-numbers", None)]),
        # Either.
        (range(1, 7), range(4), [None] * 6, [("unclear-numbers", None)]),
        # Longer than the clip.
        (range(1, 7), range(8), [None] * 6, [("unclear-numbers", None)]),
        # A row for the first image and one for the last.
        (
            range(1, 7),
            (0, 1, 3, 5),
            [0, 1, None, 3, None, 5],
            [("other-numbers", None), ("missing-frames", None)],
        ),
        # Images of another count altogether.
        (
            range(100, 104),
            range(6),
            range(4),
            [("other-numbers", None), ("beyond-video", 6), ("beyond-video", 7)],
        ),
        (range(100, 104), range(3), [0, 1, 2, None], [("other-numbers", None), ("missing-frames", None)]),
        (range(100, 104), range(1, 5), [None] * 4, [("counted-from-1", None)]),
        (range(6), range(1, 7), [None] * 6, [("counted-from-1", None)]),
        ("abc", range(3), range(3), []),
        ("abc", range(1, 4), [None] * 3, [("counted-from-1", None)]),
    ],
)
def test_rows_mean_the_images_of_their_number(read, images, rows, places, found):
    text = "\n".join(["Frame,Visibility,X,Y", *(f"{number},1,{5 + number},5" for number in rows)])
    labels, faults = read(text, frames=len(images), images=[f"{image}.png" for image in images])
    assert kinds(faults) == found
    read_from = [
        int(x) - 5 if kept else None for (x, _), kept in zip(labels.xy, labels.labelled, strict=True)
    ]
    assert read_from == list(places)


@pytest.mark.parametrize("row", ["x,1,9,9", "3,1,9,9", "22,1,9,9"])
def test_a_faulty_row_leaves_the_others_to_the_images_in_order(read, row):
    rows = [f"{number},1,{5 + number},5" for number in range(6)]
    rows[2] = row
    images = [f"{number}.png" for number in range(1, 7)]
    labels, faults = read("\n".join(["Frame,Visibility,X,Y", *rows]), frames=6, images=images)
    unsure = {2, 3} if row.startswith("3") else {2}
    assert kinds(faults)[0] == ("other-numbers", None)
    assert [fault.line for fault in faults if fault.severity == "error"] == [5 if len(unsure) == 2 else 4]
    assert set(np.flatnonzero(labels.labelled)) == set(range(6)) - unsure
    assert labels.xy[5].tolist() == [10, 5]


@pytest.mark.parametrize(
    ("numbers", "rows", "places", "found"),
    [
        (range(1, 7), range(1, 7), range(1, 7), []),
        (range(1, 7), (2, 5), [None, 2, None, None, 5, None], [("missing-frames", None)]),
        (range(1, 7), range(6), range(6), [("other-numbers", None)]),
        (range(1, 7), range(5), [*range(5), None], [("other-numbers", None), ("missing-frames", None)]),
        ((0, 1, 3), range(4), (0, 1, 3), [("beyond-video", 4)]),
        # Every fifth frame.
        ((0, 5, 10), (0, 5, 10), (0, 5, 10), []),
        ((0, 5, 10), range(3), range(3), [("other-numbers", None)]),
        (range(6), range(1, 7), [None] * 6, [("counted-from-1", None)]),
    ],
)
def test_rows_mean_the_images_whose_names_end_in_their_number(read, numbers, rows, places, found):
    text = "\n".join(["Frame,Visibility,X,Y", *(f"{number},1,{5 + number},5" for number in rows)])
    images = [f"clip2_{number:04d}.jpg" for number in numbers]
    labels, faults = read(text, frames=len(images), images=images)
    assert kinds(faults) == found
    read_from = [
        int(x) - 5 if kept else None for (x, _), kept in zip(labels.xy, labels.labelled, strict=True)
    ]
    assert read_from == list(places)


@pytest.mark.parametrize("images", [["1.png", "b.png"], ["a1.png", "b2.png"], ["a1.png", "a01.png"]])
def test_images_without_numbers_of_one_kind_are_counted(read, images):
    labels, faults = read("Frame,Visibility,X,Y\n0,1,5,5\n1,1,6,6\n", frames=2, images=images)
    assert (faults, labels.xy[:, 0].tolist()) == ([], [5, 6])


@pytest.mark.parametrize("rows", [(1, 2, 3), (1, 3)])
def test_frames_counted_from_1_are_a_fault_of_the_file(read, rows):
    labels, faults = read("Frame,Visibility,X,Y\n" + "".join(f"{row},1,5,5\n" for row in rows))
    assert kinds(faults) == [("counted-from-1", None)]
    assert faults[0].message == "seems to count frames from 1: none is 0, and 3 is behind the last"
    assert not labels.labelled.any()


@pytest.mark.parametrize(
    ("rows", "labelled", "behind"),
    [(range(30, 101), 70, 1), (range(10, 101, 10), 9, 1), (range(1, 103), 99, 3)],
)
def test_rows_behind_the_last_frame_are_not_always_counted_from_1(read, rows, labelled, behind):
    text = "Frame,Visibility,X,Y\n" + "".join(f"{row},1,5,5\n" for row in rows)
    labels, faults = read(text, frames=100)
    assert [fault.kind for fault in faults] == ["beyond-video"] * behind + ["missing-frames"]
    assert int(labels.labelled.sum()) == labelled
    alone = "frame 0 alone has no row: are frames counted from 0?"
    assert (faults[-1].message == alone) == (rows[0] == 1)


def test_a_first_frame_alone_without_a_row_may_be_a_count_from_1(read):
    _, (fault,) = read("Frame,Visibility,X,Y\n1,1,5,5\n2,1,5,5\n")
    assert fault.message == "frame 0 alone has no row: are frames counted from 0?"
    header = "file name,visibility,x-coordinate,y-coordinate,status\n"
    _, (fault,) = read(f"{header}b.jpg,1,5,5,0\n", frames=2, images=["a.jpg", "b.jpg"])
    assert fault.message == "1 of 2 frames have no row, the first of them is frame 0"


def test_two_rows_for_one_image_are_told_by_its_number(read):
    rows = "Frame,Visibility,X,Y\n4,1,5,5\n4,1,6,6\n"
    _, (fault, _) = read(rows, frames=2, images=["4.png", "5.png"])
    assert fault.message == "frame 4 has a row already, in line 2"
