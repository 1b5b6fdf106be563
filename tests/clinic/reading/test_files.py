"""Which files are found, and what cannot be read is one file's fault."""

import os

import pytest
from clinical import image_file

from clinic.reading.files import find_files
from helpers.study import StudyError


def faults(folder) -> dict[str, str]:
    return {file.path.name: file.fault for file in find_files([folder])}


def test_files_are_found_however_deep_and_sorted(tmp_path):
    for name in ("b.jpg", "a/z.png", "a/deeper/c", ".hidden/d.jpg", ".e.jpg", "DICOMDIR"):
        image_file(tmp_path / name, format="JPEG")
    found = find_files([tmp_path / "a" / ".."])
    assert [str(file.path.resolve().relative_to(tmp_path)) for file in found] == ["b.jpg", "a/z.png", "a/deeper/c"]
    assert [file.number for file in found] == [1, 2, 3] and not any(file.fault for file in found)


def test_links_out_of_a_folder_are_not_followed(tmp_path):
    inside, outside = image_file(tmp_path / "in" / "a.jpg"), image_file(tmp_path / "out" / "b.jpg")
    links = {"c.jpg": outside, "d.jpg": "../out/b.jpg", "e.jpg": inside, "f.jpg": "f.jpg", "g": tmp_path / "out"}
    for name, target in links.items():
        (tmp_path / "in" / name).symlink_to(target)
    leads_out = "a link that leads out of the folder"
    assert faults(tmp_path / "in") == {
        "a.jpg": "",
        "c.jpg": leads_out,
        "d.jpg": leads_out,
        "e.jpg": "",
        "f.jpg": "the file cannot be opened",
        "g": "a link to a folder, which is not followed",
    }


def test_a_folder_that_cannot_be_opened_is_a_fault(tmp_path, monkeypatch):
    """Made up, since an administrator may open any."""
    image_file(tmp_path / "in" / "a.jpg")
    image_file(tmp_path / "in" / "b" / "closed" / "c.jpg")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert faults(tmp_path / "in") == {"a.jpg": "", "closed": "a folder that cannot be opened"}


def test_nothing_to_predict(tmp_path):
    with pytest.raises(StudyError, match="no file to predict"):
        find_files([tmp_path])
    with pytest.raises(StudyError, match=r"^Input 2 does not exist\. Check its path\.$"):
        find_files([tmp_path, tmp_path / "absent.jpg"])
