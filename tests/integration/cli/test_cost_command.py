"""`rbp cost` as a user runs it."""

CPU = ["run.device=cpu", "train.kernel=eager", "--seconds", "0.2"]


def test_the_cost_of_a_preset_is_predicted_and_nothing_is_kept(rbp):
    cost = rbp.json("cost", "digits", "epochs=3", *CPU)
    assert (cost["device"], cost["fits"], cost["notes"]) == ("cpu", True, [])
    assert (cost["steps_per_epoch"], cost["epochs"], cost["batch"], cost["timesteps"]) == (23, 3, 64, 4)
    assert cost["epoch_s"] > 23 * cost["step_s"] and cost["total_s"] > 3 * cost["epoch_s"]
    assert 100 * 2**20 < cost["memory"] < cost["memory_limit"]
    assert not rbp.runs.exists()


def test_the_cost_is_predicted_even_without_the_data(rbp):
    words = ["cifar100-vgg11", "T=2", "arch=convnet", "data.auto_augment=false", "batch=8", *CPU]
    cost = rbp.json("cost", *words)
    assert cost["notes"] == ["cifar100 is not here: random images of its shape stand in for it"]
    assert cost["steps_per_epoch"] == 6250


def test_a_preset_far_too_large_is_reported_after_a_few_images(rbp):
    done = rbp("cost", "cifar10-resnet18", "T=32", "batch=50000", "method=bptt", "arch=convnet", *CPU)
    assert "does not fit" in done.stderr and "batch of" in done.stderr
    assert "extrapolated from B = 2 and 4, T = 16 and 32" in done.stdout
    assert done.stderr.startswith("measuring a few steps of cifar10-resnet18")
