import numpy as np
import pytest

from cmlp.data.csv import TableError, closest, label_values, quote, quote_some, read_blocks, read_header, read_table


@pytest.fixture
def csv_file(tmp_path):
    def write(content, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


# ------------------------------------------------------------------------------------------------ what is read


@pytest.mark.parametrize(
    "content",
    [
        "a,b,kind\n1,2,x\n3,4,y\n",
        "a,b,kind\r\n1,2,x\r\n3,4,y\r\n",  # Windows
        "a,b,kind\r1,2,x\r3,4,y\r",  # old Macs
        b"\xef\xbb\xbfa,b,kind\n1,2,x\n3,4,y",  # byte order mark, no newline at the end
        '"a","b","kind"\n"1","2","x"\n"3","4","y"\n',
        "a;b;kind\n1;2;x\n3;4;y\n",
        "a\tb\tkind\n1\t2\tx\n3\t4\ty\n",
        " a , b , kind \n 1 , 2 , x \n3,4.0,y\n",
        "a,b,kind\n\n1,2,x\n   \n3,4,y\n\n\n",  # blank lines
        "kind,b,a\nx,2,1\ny,4,3\n",
    ],
)
def test_spellings_of_one_table(content, csv_file):
    path = csv_file(content)
    table = read_table(path, "kind")
    by_name = dict(zip(table.features, table.X.T.tolist(), strict=True))
    assert by_name == {"a": [1, 3], "b": [2, 4]}
    assert table.X.dtype == np.float64
    assert table.labels == ["x", "y"]
    assert table.codes.tolist() == [0, 1]
    assert sorted(read_header(path)) == ["a", "b", "kind"]


def test_quoted_fields_rows_and_ignored_columns(csv_file):
    path = csv_file('"size, in m","id","kind ""k"""\n1e-3,007,"a\nb"\n\n-.5,x,b\n')
    table = read_table(path, 'kind "k"', ignore=["id"])
    assert table.features == ["size, in m"]
    assert table.X.tolist() == [[1e-3], [-0.5]]
    assert table.labels == ["a\nb", "b"]
    assert table.rows.tolist() == [2, 4]


def test_blocks_find_columns_by_name_in_bounded_memory(csv_file, monkeypatch):
    path = csv_file("x,b,a\n" + "".join(f"?,{i},{-i}\n" for i in range(10)))
    monkeypatch.setattr("cmlp.data.csv._BLOCK_CELLS", 8)
    blocks = list(read_blocks(path, ["a", "b"], "float32"))
    assert [len(block) for block in blocks] == [0, 4, 4, 2]
    assert all(block.dtype == np.float32 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), [[-i, i] for i in range(10)])


def test_blocks_of_all_columns(csv_file):
    blocks = list(read_blocks(csv_file("a,b\n1,2\n"), [], "float64"))
    np.testing.assert_array_equal(np.concatenate(blocks), [[1, 2]])


def test_blocks_refuse_what_float32_cannot_hold(csv_file):
    path = csv_file("a,b\n1,2\n\n3,1e300\n")
    assert np.concatenate(list(read_blocks(path, ["b"], "float64"))).max() == 1e300
    with pytest.raises(TableError, match=r't\.csv, row 4, column "b": 1e\+300 is too large for float32'):
        list(read_blocks(path, ["b"], "float32"))


# --------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", ": the file is empty"),
        ("\n", ": row 1 must be a header"),
        ("a,y\n", ": the header is there, but no rows follow it"),
        ("a,y\n1,2\nx1,3\n", ', row 3, column "a": "x1" is not a number'),
        ("a,y\n1,2\n,3\n", ', row 3, column "a": the cell is empty'),
        ("a,y\n1,2\n3, \n", ', row 3, column "y": the cell is empty'),
        ("a,y\n1,2\nnan,3\n", ', row 3, column "a": nan is not a finite number'),
        ("a,y\n1,2\n-inf,3\n", ', row 3, column "a": -inf is not a finite number'),
        ("a,y\n1,2\n1e999,3\n", ', row 3, column "a": inf is not a finite number'),
        ("a,y\n1_000,2\n", ', row 2, column "a": "1_000" is not a number'),
        ("a,y\n1,2\n3\n", ", row 3: 1 cell, but the header has 2 columns"),
        ("a,y\n1,2\n\n3,4,5\n", ", row 4: 3 cells, but the header has 2 columns"),
        ("a,b,a,y\n1,2,3,4\n", ', row 1: the header has two columns named "a" (columns 1 and 3)'),
        ("a,,y\n1,2,3\n", ", row 1: column 2 of the header has no name"),
        ("y\n1\n", ': there is no column beside the target "y"'),
        (b"a,y\n\xff\xfe,2\n", ": this is not UTF-8 text (byte 0xff)"),
        ("a,y\n1,2\n".encode("utf-16"), ": this is not UTF-8 text (byte 0xff)"),
        (b"\x7fELF\0\0\0,y\n1,2", ": this is a binary file"),
        (b"a,y\n\0\0\0,2\n", r', row 2, column "a": "\x00\x00\x00" is not a number'),
        ('a,y\n1,"2\n3,4\n5,6\n', ", row 2: unexpected end of data (quotes that do not close?)"),
        ('a,y\n1,"2"3\n', ", row 2: ',' expected after '\"'"),
        ('a,y\n1,"' + "x\n" * 100_000, ", row 2: field larger than field limit"),
        ("a" * 200_000 + ",y\n1,2\n", ": field larger than field limit"),
        ("a,y\n" + "1" * 200_000 + ",2\n", ", row 2: field larger than field limit"),
        ("a,y\n" + "z" * 5000 + ",2\n", ', row 2, column "a": "' + "z" * 40 + '..." is not a number'),
        (",".join(f"c{i}" for i in range(9_999)) + ",y\n1,2,3\n", ", row 2: 3 cells, but the header has 10000 columns"),
        ("a;y\n1,5;2\n", ', row 2, column "a": "1,5" is not a number'),
    ],
)
def test_unsound_tables(content, message, csv_file):
    path = csv_file(content)
    with pytest.raises(TableError) as caught:
        read_table(path, "y")
    text = str(caught.value)
    assert text.startswith(path)
    assert message in text
    assert "\n" not in text
    assert len(text) < len(path) + 200


def test_a_file_without_lines_is_not_read_whole(csv_file, monkeypatch):
    monkeypatch.setattr("cmlp.data.csv._LONGEST_LINE", 1000)
    with pytest.raises(TableError, match="a line is longer than 1000 characters"):
        read_table(csv_file("a,y\n" + "1" * 5000), "y")


def test_missing_columns(csv_file):
    path = csv_file("height,width,Price\n1,2,3\n")
    with pytest.raises(TableError, match=r'no column "prise" \(did you mean "Price"\?\); the columns are "height", '):
        read_table(path, "prise")
    with pytest.raises(TableError, match='no column "depth"'):
        read_table(path, "Price", ignore=["depth"])
    with pytest.raises(TableError, match="cannot be ignored"):
        read_table(path, "Price", ignore=["Price"])
    with pytest.raises(TableError, match='3 of the 4 columns needed are missing: "a", "b", "c"'):
        next(read_blocks(path, ["a", "width", "b", "c"], "float32"))
    with pytest.raises(TableError, match=r"Is the first line a header\?"):
        read_table(csv_file("5.1,3.5\n4.9,3.0\n"), "y")


def test_a_long_header_is_not_listed(csv_file):
    path = csv_file(",".join(f"column_{i}" for i in range(10_000)) + "\n")
    with pytest.raises(TableError) as caught:
        read_table(path, "colum_123")
    assert "(10000 in all)" in str(caught.value)
    assert "did you mean" in str(caught.value)
    assert len(str(caught.value)) < len(path) + 300


def test_long_names_are_compared_by_their_beginnings(monkeypatch):
    compared = []

    def seen(word, names, n):
        compared.extend([word, *names])
        return [word] if word in names else []

    monkeypatch.setattr("cmlp.data.csv.get_close_matches", seen)
    assert closest("X" * 100_000, ["y", "x" * 50_000]) == "x" * 50_000
    assert max(map(len, compared)) <= 100  # difflib takes the product of the lengths


def test_quotes():
    assert quote("a") == '"a"'
    assert quote("é\t\x1b[31m") == r'"é\t\x1b[31m"'
    assert quote("x" * 43) == '"' + "x" * 43 + '"'
    assert len(quote("x" * 44)) == 45
    assert quote_some(list("abc"), most=3) == '"a", "b", "c"'


# --------------------------------------------------------------------------------------------------- the target


def table_of(csv_file, values):
    return read_table(csv_file("a,y\n" + "".join(f"1,{value}\n" for value in values)), "y")


@pytest.mark.parametrize(
    ("values", "task", "decided", "meaning"),
    [
        (["no", "yes", "no"], "auto", "classification", ["no", "yes"]),
        ([1, 0, 1, 0], "auto", "classification", [1, 0]),
        (["1.0", "1", "2", "2"], "auto", "classification", [1, 1, 2]),
        ([1, 2, 3], "auto", "regression", [1.0, 2.0, 3.0]),  # each once
        ([0.5, 1, 1, 1], "auto", "regression", [0.5, 1.0]),
        (list(range(21)) * 3, "auto", "regression", list(range(21))),
        (list(range(20)) * 3, "auto", "classification", list(range(20))),
        ([1, 0, 1, 0], "regression", "regression", [1.0, 0.0]),
        ([1, 2, 3], "classification", "classification", [1, 2, 3]),
        (["a", "b", "1"], "auto", "classification", ["a", "b", "1"]),
        (["1", "2", "a"], "classification", "classification", ["1", "2", "a"]),
        ([10**17, 10**17 + 1] * 2, "classification", "classification", [str(10**17), str(10**17 + 1)]),
    ],
)
def test_tasks(values, task, decided, meaning, csv_file):
    result = label_values(table_of(csv_file, values), task)
    assert result == (decided, meaning)
    assert [type(value) for value in result[1]] == [float if decided == "regression" else type(meaning[0])] * len(
        meaning
    )


@pytest.mark.parametrize(
    ("values", "task", "message"),
    [
        (["1", "2", "3", "N/A"], "auto", 'row 5, column "y": "N/A" is not a number, unlike most of the column'),
        (["1", "x"], "regression", 'row 3, column "y": "x" is not a number'),
        (["a", "nan"], "auto", 'row 3, column "y": nan is not a finite number'),
        ([1, "inf"], "regression", 'row 3, column "y": inf is not a finite number'),
        ([1, 1.5], "classification", 'row 3, column "y": 1.5 is neither text nor an integer'),
    ],
)
def test_targets_that_do_not_suit_the_task(values, task, message, csv_file):
    with pytest.raises(TableError) as caught:
        label_values(table_of(csv_file, values), task)
    assert message in str(caught.value)
