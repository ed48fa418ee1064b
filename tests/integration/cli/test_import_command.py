"""`rbp import`: what other programs have logged, as runs."""

import csv
import io


def test_a_table_is_imported_once_listed_and_exported_as_it_was(rbp_here, tmp_path):
    (tmp_path / "theirs.csv").write_text("epoch,train_loss,test_acc\n1,0.7000000000000001,80.5\n2,0.3,90.25\n")
    words = ("import", "theirs.csv", "--tag", "paper", "--percent")
    assert "theirs, 2 curves, 4 numbers" in rbp_here(*words).stderr
    (again,) = rbp_here.json(*words)
    assert (again["new"], again["name"], again["numbers"]) == (False, "theirs", 4)
    (listed,) = rbp_here.json("ls", "tag:paper")
    assert (listed["id"], listed["best"]["top1"], listed["status"]) == (again["id"], 0.9025, "completed")
    rows = list(csv.DictReader(io.StringIO(rbp_here("runs", "csv", again["id"]).stdout)))
    assert [row["loss"] for row in rows if row["kind"] == "metrics"] == ["0.7000000000000001", "0.3"]
    assert [(row["step"], row["top1"]) for row in rows if row["kind"] == "validation"] == [
        ("1", "0.805"), ("2", "0.9025")
    ]  # fmt: skip
    with_another = rbp_here("import", "missing.csv", *words[1:], code=1).stderr
    assert "cannot import missing.csv" in with_another and "is there already" in with_another
    refused = rbp_here("import", "missing.csv", code=2).stderr
    assert "cannot import missing.csv: No such file or directory" in " ".join(refused.split())
