import pytest

from helpers.reading import read_csv, read_json, read_table
from helpers.study import StudyError

ROWS = [["a", "1"], ["b", None]]


@pytest.mark.parametrize("content", [None, "", '{"a": [1, 2', '{"a"', "\udcff"])
def test_a_json_file_that_is_missing_or_damaged_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "metrics.json"
    if content is not None:
        path.write_text(content, errors="surrogateescape")
    with pytest.raises(StudyError, match=r"metrics.json: (no such file|not JSON).*\. Run it again"):
        read_json(path, "Run it again.")


@pytest.mark.parametrize("content", [None, "", "id,part\na,1\nb", 'id,part\na,"1\n'])
def test_a_table_that_is_missing_or_damaged_is_named_with_the_remedy(tmp_path, content):
    path = tmp_path / "predictions.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(StudyError, match=r"predictions.csv: .*\. Run it again"):
        read_csv(path, "Run it again.")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    ("separator", "first"), [(",", ""), (";", ""), ("\t", ""), (";", "sep=;\r\n"), ("|", "sep=|\n")]
)
def test_tables_of_spreadsheets_are_read(tmp_path, encoding, separator, first):
    text = first + "".join(f"{one}{separator}{other}\r\n" for one, other in [("id", "Größe"), ("a", 1), ("b", "")])
    (tmp_path / "table.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "table.csv", "Save it as csv.")
    assert list(table) == ["id", "Größe"] and table.astype(object).where(table.notna(), None).values.tolist() == ROWS
    assert table.attrs["first_row"] == (3 if first else 2)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\xff\xfe", "id,Größe\n".encode("latin-1"), b'a,b\n"1,2\n'])
def test_what_is_no_table_is_named(tmp_path, content):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(StudyError, match="table.csv: not a table.*Save it as csv"):
        read_table(tmp_path / "table.csv", "Save it as csv.")
