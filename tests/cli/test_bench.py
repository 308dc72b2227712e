import numpy as np
from helpers.command import output_of

import cmlp
from cmlp.cli import bench


def test_bench(capsys, monkeypatch):
    small = (bench.Workload(bench.HEADLINE, 3, 2, 1), bench.Workload((3, 4, 3), 2000, 10))
    monkeypatch.setattr(bench, "QUICK", small)
    out, err = output_of(capsys, "bench", "--quick")
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line}
    assert rows["3-4-3"][1:4] == ["2,000", "x", "3"]
    assert rows["3-4-3"][-1].endswith("x")
    assert "C = time / (K M (L+1) n h) = " in out
    assert max(map(len, out.splitlines())) <= 80
    table = out.split("\n\n")[1].splitlines()
    assert len({len(line) for line in table}) == 1  # columns end where their names do
    assert err == ""


def test_what_the_bench_compares_learns_the_same(monkeypatch):
    """The networks that cmlp and NumPy train in the bench are the same, up to float32."""
    learnt = []
    fit, train_numpy = cmlp.MLP.fit, bench.reference.train

    def spy_fit(self, *arguments, **settings):
        fit(self, *arguments, **settings)
        learnt.append([W.copy() for W in self.weights])

    def spy_train(weights, *arguments, **settings):
        train_numpy(weights, *arguments, **settings)
        learnt.append(weights)

    monkeypatch.setattr(cmlp.MLP, "fit", spy_fit)
    monkeypatch.setattr(bench.reference, "train", spy_train)
    for sizes in ((30, 8, 8, 1), (20, 9, 4)):
        bench._times(bench.Workload(sizes, 100, 100), repeats=1)
        initial = cmlp.MLP(sizes, loss="squared_error" if sizes[-1] == 1 else "cross_entropy", seed=0).weights
        for ours, numpys, before in zip(*learnt[-2:], initial, strict=True):
            np.testing.assert_allclose(ours, numpys, rtol=1e-3, atol=1e-5)
            assert np.abs(ours - before).max() > 1e-3
