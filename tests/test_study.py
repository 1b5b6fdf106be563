import nbformat
import pytest

from helpers.study import (
    RANGES,
    ROOT,
    StudyError,
    check_parameters,
    declared_parameters,
    load_study,
    parse_value,
)

DECLARED = {"study": "demo", "epochs": 5, "learning_rate": 1e-3, "filters": [16, 32], "keep": True, "seeds": []}
DECLARED |= {"names": ["a"], "dropout": 0.3}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1e5", 1e5), ("5", 5), ("0.5", 0.5), ("[16, 32]", [16, 32]), ("true", True), ("focal", "focal")],
)
def test_values_have_the_type_that_their_notation_suggests(text, value):
    assert parse_value(text) == value and type(parse_value(text)) is type(value)


@pytest.mark.parametrize(
    "given",
    [{"epochs": 9}, {"learning_rate": 1}, {"filters": [8]}, {"names": []}, {"keep": False}, {"seeds": [1, 2]}, {}],
)
def test_parameters_of_the_declared_types_pass(given):
    check_parameters(given, DECLARED, "here")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 9}, "studies/x.yaml: unknown parameter 'epoch'. Did you mean 'epochs'"),
        ({"zzz": 9}, "unknown parameter 'zzz'. Known parameters: dropout, epochs, filters"),
        ({"epochs": "9"}, "parameter epochs is '9'; it must be int, like 5"),
        ({"epochs": True}, "it must be int"),
        ({"learning_rate": "fast"}, "it must be float"),
        ({"learning_rate": True}, "it must be float"),
        ({"filters": 16}, "it must be list"),
        ({"keep": 1}, "it must be bool"),
        ({"filters": [16, -4]}, r"parameter filters is \[16, -4\]; it must be at least 1"),
        ({"filters": []}, "it must be at least 1"),
        ({"seeds": [0, -1]}, "it must be 0 or more"),
        ({"epochs": 0}, "it must be at least 1"),
        ({"dropout": 1.0}, "it must be 0 or more and below 1"),
        ({"learning_rate": float("nan")}, "it must be above 0"),
    ],
)
def test_unknown_parameters_and_wrong_types_are_named(given, message):
    with pytest.raises(StudyError, match=message):
        check_parameters(given, DECLARED, "studies/x.yaml")


def test_every_number_of_a_notebook_has_one_range():
    ranged = [name for _, _, names in RANGES for name in names.split()]
    assert len(ranged) == len(set(ranged))
    for declared in map(declared_parameters, NOTEBOOKS):
        check_parameters(declared, declared, "defaults")
        first = {name: value[0] if isinstance(value, list) else value for name, value in declared.items()}
        assert {name for name, value in first.items() if type(value) in (int, float)} <= set(ranged)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("study: other\n", "`study` is 'other'. Set it to the file's name, mine"),
        ("study: mine\nnested: {a: 1}\n", "not a study file"),
        ("- a\n- b\n", "not a study file"),
        ("study: [mine\n", "not valid YAML"),
    ],
)
def test_a_wrong_study_file_is_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(StudyError, match=message):
        load_study(path)
    with pytest.raises(StudyError, match="Known studies: .*demo"):
        load_study(tmp_path / "another.yaml")


def write_notebook(path, source, tags):
    cells = [nbformat.v4.new_code_cell(source, metadata={"tags": tags}), nbformat.v4.new_code_cell("other = 1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_declared_parameters_come_from_the_tagged_cell(tmp_path):
    source = "study = 'demo'  # a name\nrate = 1e-3\nwidths = [1, 2]"
    path = write_notebook(tmp_path / "a.ipynb", source, ["parameters"])
    assert declared_parameters(path) == {"study": "demo", "rate": 1e-3, "widths": [1, 2]}
    with pytest.raises(StudyError, match="0 cells are tagged"):
        declared_parameters(write_notebook(tmp_path / "b.ipynb", source, []))
    with pytest.raises(StudyError, match="no such notebook. Known notebooks: a, b."):
        declared_parameters(tmp_path / "c.ipynb")
