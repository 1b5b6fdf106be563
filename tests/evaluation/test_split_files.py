import json

import pytest

from helpers.evaluation.split_files import read_lesion_ids, read_split_files
from helpers.study import StudyError

PARTS = [["a1", "train"], ["b1", "train"], ["a2", "test"]]


def write(folder, files):
    """Write files of the given names and contents; returns the paths of what lies directly in the folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name).write_text(text)
    return sorted(folder.iterdir(), reverse=True)


@pytest.mark.parametrize(
    "files",
    [
        {"train.csv": "filename\nimages/a1.jpg\nb1.PNG\n", "test.csv": "filename\na2.jpg\n"},
        {"split.csv": "Image;Set\na1;train\nb1;train\na2;test\n"},
        {"split.csv": "image_id, PART \na1,train\n\nb1,train\na2,test\n"},
        {"split.csv": "x,file,partition,usage\n1,a1,train,\n2,b1,train,\n3,a2,test,\n"},
        {"train.txt": "a1.jpg 3\nimages\\b1.jpg 0\n", "test.txt": "a2.jpg 3\n"},
        {"train.txt": "a1\nb1", "test.txt": "a2"},
        {"split.json": {"train": ["a1.jpg", "x/b1.jpg"], "test": ["a2.jpg"]}},
        {"split.json": {"a1": "train", "b1": "train", "a2": "test"}},
        {"split.json": [{"image": one, "split": part} for one, part in PARTS]},
        {"train.json": {"images": [{"file_name": "a1.jpg"}, {"file_name": "b1.jpg"}]}, "test.json": ["a2"]},
        {"train/nv/a1.jpg": "", "train/mel/b1.png": "", "train/notes.txt": "", "test/nv/a2.JPG": ""},
        {
            "all/masks/a1_segmentation.png": "",
            "all/train/nv/a1.jpg": "",
            "all/train/mel/b1.png": "",
            "all/test/a2.JPG": "",
        },
    ],
)
def test_splits_are_read_as_others_write_them(tmp_path, files):
    assert sorted(read_split_files(write(tmp_path, files)).values.tolist()) == sorted(PARTS)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({"split.csv": "x,y\n1,2\n"}, "split.csv: no column of images. .*The columns are x, y"),
        ({"split.csv": ""}, "split.csv: not a table"),
        ({"split.json": {"train": ["a1"]}}, "there is only one part"),
        ({"split.json": '{"train": ["a1"'}, "split.json: not JSON, or cut short"),
        ({"split.json": 3}, "split.json: it names no images"),
        ({"split.json": [{"id": 3}]}, "JSON entries with id: none of them is image_id"),
        ({"train/notes.txt": ""}, "train: it names no images"),
    ],
)
def test_unusable_files_are_refused(tmp_path, files, fault):
    with pytest.raises(StudyError, match=fault):
        read_split_files(write(tmp_path, files))


def test_lesion_ids_are_read_from_published_tables(tmp_path):
    write(
        tmp_path,
        {"a.csv": "image,lesion_id,sex\na1,a,male\nd1,,male\nd2,-,male\n", "b.tab": "lesion_id\tisic_id\na\ta1\n"},
    )
    assert read_lesion_ids(tmp_path / "a.csv")["lesion_id"].isna().tolist() == [False, True, True]
    assert read_lesion_ids(tmp_path / "b.tab").values.tolist() == [["a1", "a"]]
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(StudyError, match="no column image_id, lesion_id. The columns are x, y"):
        read_lesion_ids(tmp_path / "a.csv")
    with pytest.raises(StudyError, match="gone.csv: no such file"):
        read_lesion_ids(tmp_path / "gone.csv")
