from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, load_preset
from rbp_engine.preset.schema import Preset
from tests.unit.preset.made_presets import NETS, load, refusal


def test_an_empty_preset_is_all_defaults():
    loaded = load("")
    assert loaded.preset == Preset()
    assert set(loaded.sources.values()) == {"default"}
    assert (loaded.name, loaded.path) == ("mine", Path("mine.toml").absolute())


@pytest.mark.parametrize(
    ("words", "label"),
    [
        ((), "mine"),
        (("arch=code/nets.py:MyNet",), "mine · nets.py:MyNet"),
        (("data=code/nets.py:MyNet", "arch=resnet18"), "mine · resnet18 · nets.py:MyNet"),
        (("arch=vgg11", "T=6"), "mine"),  # vgg11 is the preset's own network
        (("data=mnist5k",), "mine · mnist5k"),
    ],
)
def test_a_label_names_a_network_or_data_set_other_than_the_presets_own(folder, words, label):
    (folder / "code").mkdir()
    (folder / "code" / "nets.py").write_text(NETS)
    loaded = load('[model]\nname = "vgg11"\n', *words)
    assert (loaded.name, loaded.label) == ("mine", label)


def test_all_problems_are_shown_at_once_in_aligned_columns():
    assert refusal('[optim]\nlrr = 0.1\n\n[method]\ntimesteps = "4"\n') == (
        "mine.toml: 2 problems\n"
        "  optim.lrr (line 2)         unknown key. Did you mean 'lr'?\n"
        '  method.timesteps (line 5)  expected an integer, got the string "4"'
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[optimm]\nlr = 1", "optimm (line 1)  unknown key. Did you mean 'optim'?"),
        ("lr = 1", "lr (line 1)  unknown key. Did you mean 'optim.lr'?"),
        ("[model]\nzzz = 1", "model.zzz (line 2)  unknown key. Known here: args, init, name"),
        ("[paper]\nfigures = [{ top = 0.5 }]", "paper.figures[0].top (line 2)  unknown key. Did you mean 'top1'?"),
        ("[method]\ntimesteps = 4.0", "expected an integer, got the number 4.0"),
        ("[optim]\nlr = '0.1'", 'expected a number, got the string "0.1"'),
        ("[optim]\nlr = '0.1,0.2'", 'got the string "0.1,0.2". rbp sweep takes several values'),
        ("[method]\nname = 'bptt,rate_m'", 'got the string "bptt,rate_m". rbp sweep takes several values'),
        ("[optim]\nlr = nan", "expected a finite number, got the number nan"),
        ("[optim]\nlr = 2020-01-01", "expected a number, got a date or time"),
        (f"[optim]\nlr = 1{'0' * 400}", "expected a number, got a very large integer"),
        ("[data]\nflip = 1", "expected true or false, got the integer 1"),
        ("[data]\nname = '/pics'", "folder:name (rbp data add folder:name DIR names a folder of images)"),
        ("[data]\nname = 'cifr10'", "got the string \"cifr10\". Did you mean 'cifar10'?"),
        ("[model]\nname = 'nets.py:'", "or your own as file.py:name, got"),
        ("[model]\nname = 'nets.py:MyNet'\nargs = 3", "model.args (line 3)  expected a table, got the integer 3"),
        (
            "[model]\nname = 'nets.py:MyNet'\nargs = { a = [{ b = nan }] }",
            "'a' takes text, true or false, finite numbers",
        ),
        ("[data]\nworkers = 257", 'expected a whole number from 0 to 256, or "auto", got the integer 257'),
        ("[train]\nprecision = 'tf32'", 'expected one of fp32, bf16, fp16, got the string "tf32"'),
        ("optim = 3", "optim (line 1)  expected a table, got the integer 3"),
        ("[run]\ntags = 'a'", 'expected an array, got the string "a"'),
        ("[run]\ntags = ['a', 1]", "run.tags[1] (line 2)  expected a string, got the integer 1"),
        ("[data]\nbatch_size = 0", "must be at least 1, got the integer 0"),
        ("[optim]\nlr = 0", "must be more than 0"),
        ("[optim]\nmomentum = 1", "must be less than 1"),
        ("[train]\nvalidation_split = 0.6", "must be at most 0.5"),
        ("[train]\ncheckpoint_every = 'often'", 'expected epochs from 1 to a million, or a time, as "1 epoch"'),
        (f"[run]\ndevice = 'cuda:{'9' * 30}'", "expected auto, cpu, cuda or cuda:<number>, got"),
        ("[run]\nname = '../x'", "no path separators"),
        ('[run]\nname = "a\\u0007"', "no control characters"),
        ("[run]\ntags = ['a/b']", "run.tags[0] (line 2)  must have no path separators"),
        ("[paper]\nfigures = [{ top1 = 95.6 }]", 'expected a fraction in [0, 1] or "not known", got the number 95.6'),
        ("[paper]\nfigures = [{ top1 = true }]", 'expected a fraction in [0, 1] or "not known", got the boolean true'),
        ("extends = ['digits']", "extends (line 1)  expected the name of one preset, as a string"),
    ],
)
def test_a_bad_setting_is_refused(text, problem):
    message = refusal(text)
    assert message.startswith("mine.toml: 1 problem\n")
    assert problem in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[neuron]\nv_reset = 0.5", "neuron.v_reset (line 2)  a soft reset"),
        ("[neuron]\nsurrogate_args = { beta = 1 }", "neuron.surrogate_args.beta (line 2)  the surrogate 'sigmoid'"),
        ("[neuron]\nsurrogate = 'leaky_k_relu'\nsurrogate_args = {alpha = 1}", "takes no 'alpha', it takes: leak, k."),
        ("[model]\nargs = { width = 1 }", "model.args (line 2)  only a network of your own or a library's takes argum"),
        ("[model]\nname = 'torchvison:resnet18'", "torchvision:name, timm:name, spikingjelly:name, or your own as"),
        ("[model]\nname = 'timm:'", "model.name (line 2)  the name of a network is missing, as in timm:resnet18"),
        ("[model]\nname = 'resnet_18'", """got the string "resnet_18". Did you mean 'resnet18'?"""),
        ("[model]\nname = 'timm:resnet18'\nargs = { pretrained = true }", "weights of libraries are never downloaded"),
        ("[model]\nname = 'timm:resnet18'\nargs = { in_chans = 1 }", "model.args.in_chans (line 3)  the numbers of cl"),
        ("[model]\nname = 'spikingjelly:sew_resnet18'\nargs = { tau = 4.0 }", "are those of [neuron]. Set it there"),
        ("[neuron]\nlearn = ['tau']", "neuron.learn[0] (line 2)  expected 'decay' or 'threshold', got the string"),
        ("[neuron]\nlearn = ['decay', 'decay']", "neuron.learn (line 2)  names something twice"),
        ("[neuron]\nlearn = ['decay']\ndecay = 1.0", "must start there, got 1.0"),
        ("[neuron]\nlearn_by = 'channel'", "is for neuron.learn, which is empty. Name decay or threshold there"),
        ("[data]\nargs = { n = 1 }", "data.args (line 2)  only code of your own takes arguments, and data.name is 'd"),
        ("[data]\nauto_augment = true", "data.auto_augment (line 2)  needs images of 3 channels, and data.name is 'd"),
        ("[data]\nname = 'imagenet'\ncutout = 16", "data.cutout (line 3)  is for images in memory and event data"),
        ("[data]\nname = 'moving_digits'\ncrop_padding = 1", "data.crop_padding (line 3)  is for images in memory"),
        ("[data]\nname = 'moving_digits'\nresize = 'legacy_pil'", "data.resize (line 3)  is for cifar10_dvs"),
        ("[data]\nname = 'cifar10'\nroll = 5", "data.roll (line 3)  is for event data, and data.name is 'cifar10'"),
        ("[data]\nname = 'cifar10'\nsize = 48", "data.size (line 3)  is for imagenet, "),
        ("[data]\nframes_by = 'time'", "data.frames_by (line 2)  is for recordings of events, and data.name is 'd"),
        ("[data]\nsplit = 'random'", "data.split (line 2)  is for cifar10_dvs"),
        ("[data]\norientation = 'stored'", "data.orientation (line 2)  is for cifar10_dvs"),
        ("[data]\nname = 'sequential_digits'\n[method]\ntimesteps = 4", "samples of 8 timesteps, so T is 8, got 4"),
        ("[loss]\nname = 'tet'", "loss.name (line 2)  'tet' is a loss of every timestep, and the backward pass of"),
        ("[loss]\nbranches = ['2']\n[method]\nname = 'sltt'", "loss.branches (line 2)  branches learn from means"),
        ("[loss]\nname = 'tet'\nbranches = ['2']\n[method]\nname = 'bptt'", "and loss.name is 'tet', a loss of every"),
        ("[loss]\nbranches_weight = 0.7", "loss.branches_weight (line 2)  is for branches, and loss.branches names"),
        ("[loss]\nmse_weight = 0.1", "loss.mse_weight (line 2)  is for the loss 'tet', and loss.name is 'ce'. Use 0.0"),
        ("[optim]\nschedule = 'multistep'", "optim.milestones  multistep needs the epochs at which the rate falls,"),
        ("[optim]\nschedule = 'restarts'", "optim.restart_epochs  restarts needs the length of the first cosine in"),
        ("[optim]\nschedule = 'constant'\nlr_min = 0.01", "optim.lr_min (line 3)  is for the schedule cosine or"),
        ("[optim]\nmilestones = [3]", "optim.milestones (line 2)  is for the schedule multistep, and optim.schedule"),
        ("[optim]\nschedule = 'multistep'\nmilestones = [3, 3]", "optim.milestones (line 3)  must rise from one"),
        ("[data]\nname = 'digits'\nbatch_size = 2000", "data.batch_size (line 3)  must be at most the 1437 samples"),
        ("[optim]\nlr_min = 0.2", "optim.lr_min (line 2)  must be at most optim.lr (0.1), got 0.2"),
        ("[optim]\nwarmup_steps = 5", 'optim.warmup_steps (line 2)  needs optim.schedule_by = "step": by epoch the'),
        (
            "[optim]\nschedule_by = 'step'\nwarmup_epochs = 1\nwarmup_steps = 5",
            "is another warm-up than optim.war",
        ),
        (
            "[optim]\nschedule_by = 'step'\nwarmup_steps = 24\n[train]\nepochs = 2\n[data]\nbatch_size = 120",
            "optim.warmup_steps (line 3)  must be fewer than the run's steps (24), got 24. Use 0 for no warm-up",
        ),
        (
            "[optim]\nschedule_by = 'step'\nwarmup_steps = 10\n[train]\nepochs = 1\nvalidation_split = 0.2\n"
            "[data]\nbatch_size = 120\ndrop_last = true",
            "optim.warmup_steps (line 3)  must be fewer than the run's steps (9), got 10. Use 0 for no warm-up",
        ),
        ("[data]\nname = 'fake'\nargs = { frmes = true }", "data.args.frmes (line 3)  fake takes no 'frmes', it"),
        ("[data]\nname = 'fake'\nargs = { shape = [1, 8] }", "data.args.shape (line 3)  expected channels, height"),
        ("[data]\nname = 'fake'\nargs = { train_size = 0 }", "data.args.train_size (line 3)  expected a whole number"),
        ("[data]\nname = 'fake'\nargs = { frames = 1 }", "data.args.frames (line 3)  expected true or false, got the"),
        ("[optim]\nwarmup_epochs = 10", "optim.warmup_epochs (line 2)  must be fewer than train.epochs (10), got 10"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(text, problem):
    assert problem in refusal(text)


def test_contradictions_are_shown_together_once_each_value_is_valid():
    text = "[neuron]\nv_reset = 1\n[optim]\nwarmup_epochs = 9\n[train]\nepochs = 3\n"
    assert refusal(text).startswith("mine.toml: 2 problems")
    assert refusal(text.replace("[optim]", "decay = 2\n[optim]")).startswith("mine.toml: 1 problem")


@pytest.mark.parametrize(
    "text",
    [
        "[neuron]\nreset = 'hard'\nv_reset = 0.5",
        "[optim]\nwarmup_epochs = 9",
        "[optim]\nschedule_by = 'step'\nwarmup_steps = 23\n[train]\nepochs = 2\n[data]\nbatch_size = 120",
        "[optim]\nschedule_by = 'step'\nwarmup_steps = 9999\n[train]\nepochs = 1\n[data]\nname = 'fake'",
        "[optim]\nschedule = 'multistep'\nmilestones = [3, 60]\ngamma = 0.2\nschedule_by = 'step'\nwarmup_steps = 5",
        "[optim]\nschedule = 'restarts'\nrestart_epochs = 3\nrestart_mult = 2\nlr_min = 0.001",
        "[method]\nname = 'bptt'\n[loss]\nname = 'tet'\nmse_weight = 0.1\nlabel_smoothing = 0.1",
        "[data]\nname = 'imagenet'\nsize = 160\nflip = true\nworkers = 8",
        "[data]\nname = 'cifar10_dvs'\nroll = 5\nframes_by = 'time'\nsplit = 'first100'\nresize = 'legacy_pil'",
        "[data]\nname = 'moving_digits'\nroll = 1\nflip = true",
        "[data]\nname = 'fake'\nsize = 16\nargs = { classes = 3, shape = [1, 8, 8], frames = false }",
        "[run]\ndevice = 'cuda:1'\nname = 'first try é'",
        "\ufefftitle = 'with a byte order mark'",
        "[paper]\nfigures = [{ top1 = 1 }, { top1 = 'not known' }]",
    ],
)
def test_a_good_setting_is_accepted(text):
    load(text)


def test_unreadable_files_become_preset_errors():
    Path("latin.toml").write_bytes(b"title = 'a'\ndescription = '\xe9'\n")
    Path("syntax.toml").write_text("title = 'a'\n\n[optim\n")
    Path("twice.toml").write_text("[run]\nseed = 1\nseed = 2\n")
    Path("deep.toml").write_text("x = " + "[" * 3_000)
    Path("digits-of-pi.toml").write_text("x = " + "3" * 10_000)
    expected = {
        "latin.toml": "line 2  is not UTF-8 text (byte 0xe9)",
        "syntax.toml": "line 3  is not TOML: ",
        "twice.toml": "line 3  is not TOML: ",
        "deep.toml": "nested more than 32 deep",
        "digits-of-pi.toml": "is not usable: ",
        "absent.toml": "no such file",
        "a\0b.toml": "no such file",
    }
    for name, problem in expected.items():
        with pytest.raises(PresetError) as caught:
            load_preset(name)
        assert problem in str(caught.value), name
    with pytest.raises(PresetError, match=r"\(column \d+\)"):
        load_preset("syntax.toml")


def test_a_child_overrides_its_parent_field_by_field():
    Path("base.toml").write_text(
        "title = 'base'\ndescription = 'd'\n[optim]\nlr = 0.5\nmomentum = 0.5\n[neuron]\nsurrogate = 'leaky_k_relu'\n"
        "surrogate_args = { leak = 0.1 }\n[paper]\ncell = 'c'\n"
    )
    loaded = load("extends = 'base'\n[optim]\nlr = 0.25\n[neuron.surrogate_args]\nk = 2\n")
    assert (loaded.preset.optim.lr, loaded.preset.optim.momentum) == (0.25, 0.5)
    assert loaded.preset.neuron.surrogate_args == {"k": 2.0}
    assert (loaded.preset.title, loaded.preset.description, loaded.preset.paper) == ("", "", None)
    assert loaded.sources["optim.lr"] == "mine.toml:3"
    assert loaded.sources["optim.momentum"] == "base.toml:5"
    assert loaded.sources["neuron.surrogate_args"] == "mine.toml:4"
    assert loaded.sources["optim.name"] == "default"


@pytest.mark.parametrize("bad", ["optim = 3\n", "extends = 'base'\n[optim]\nlr = 1\n"])
def test_a_section_that_is_not_a_table_is_reported_even_if_overridden(bad):
    Path("base.toml").write_text("optim = 3\n")
    assert "expected a table, got the integer 3" in refusal(bad, "lr=1")


def test_a_parent_is_searched_first_in_the_childs_folder():
    Path("sub").mkdir()
    Path("sub/digits.toml").write_text("[train]\nepochs = 77\n")
    Path("sub/child.toml").write_text("extends = 'digits'\n")
    assert load_preset("sub/child.toml").preset.train.epochs == 77
    assert load("extends = 'digits'\n").preset.data.name == "digits"


def test_a_missing_parent_is_named_with_the_places_searched_and_a_broken_one_with_its_problem():
    message = refusal("\nextends = 'digitz'\n")
    assert "extends (line 2)  no preset is called 'digitz'. Did you mean 'digits'? Searched: ./presets" in message
    assert "no such file: nets/base.toml" in refusal("extends = 'nets/base.toml'\n")
    Path("base.toml").write_text("[optim\n")
    assert refusal("extends = 'base'\n").startswith("base.toml: 1 problem\n  line 1  is not TOML")


def test_a_preset_that_extends_itself_is_refused_with_the_chain():
    assert "extends itself: mine.toml -> mine.toml" in refusal("extends = 'mine'\n")
    Path("a.toml").write_text("extends = 'b'\n")
    Path("b.toml").write_text("extends = 'mine'\n")
    assert "extends itself: mine.toml -> a.toml -> b.toml -> mine.toml" in refusal("extends = 'a'\n")


def test_overrides_replace_the_files_values_and_are_named_in_problems():
    loaded = load("[method]\ntimesteps = '2'\n", "T=6", "neuron.surrogate_args.alpha=2")
    assert loaded.preset.method.timesteps == 6
    assert loaded.preset.neuron.surrogate_args == {"alpha": 2.0}
    assert loaded.sources["method.timesteps"] == "override"
    message = refusal("[method]\ntimesteps = 2\n[optim]\nlr = nan\n", "T=four", "foo=1")
    assert 'method.timesteps (T=four)  expected an integer, got the string "four"' in message
    assert "optim.lr (line 4)" in message
    assert message.startswith("mine.toml: 3 problems")
    assert refusal("[optim]\nlr = 0.1\n", "epochs=x").startswith("settings given with mine.toml: 1 problem\n")


def test_own_code_is_read_relative_to_the_file_that_names_it():
    Path("sub").mkdir()
    Path("sub/nets.py").write_text(NETS)
    Path("sub/base.toml").write_text("[model]\nname = 'nets.py:MyNet'\n")
    for loaded in (load_preset("sub/base.toml"), load("extends = 'sub/base.toml'\n")):
        own = loaded.own_code["model.name"]
        assert (own.path, own.files) == (Path("sub/nets.py").absolute(), {"nets.py": NETS.encode()})
    with pytest.raises(PresetError, match=r"arch=nets.py:MyNet\)  cannot read nets.py: No such file or directory"):
        load_preset("sub/base.toml", ["arch=nets.py:MyNet"])
    assert load_preset("digits", ["arch=sub/nets.py:MyNet"]).own_code["model.name"].files == {"nets.py": NETS.encode()}


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        (None, "cannot read nets.py: No such file or directory"),
        ("class MyNett: pass\n", "nets.py has no class or function called 'MyNet'. Did you mean 'MyNett'?"),
        ("def make():\n    class MyNet: pass\n", "nets.py has no class or function called 'MyNet'."),
        ("print(MyNet)\n", "nets.py has no class or function called 'MyNet'."),
        ("x = 1\nclass MyNet(:\n", "nets.py line 2 is not Python: invalid syntax"),
        ("x\0", "nets.py is not Python: "),
    ],
)
def test_unusable_own_code_is_one_problem_of_the_preset(source, problem):
    if source is not None:
        Path("nets.py").write_text(source)
    message = refusal("[model]\nname = 'nets.py:MyNet'\n")
    assert message.startswith("mine.toml: 1 problem\n  model.name (line 2)  ")
    assert problem in message


@pytest.mark.parametrize(
    "source",
    [
        "MyNet = print\n",
        "from torch.nn import Sequential as MyNet\n",
        "from torch.nn import *\n",
        "if True:\n    def MyNet(): pass\n",
    ],
)
def test_own_code_can_define_or_import_its_name_anywhere_and_is_not_executed(source):
    Path("nets.py").write_text(f"{source}raise SystemExit\n")
    load("[model]\nname = 'nets.py:MyNet'\n")


def test_two_different_files_with_the_same_name_are_refused_but_one_file_can_serve_both():
    Path("sub").mkdir()
    for folder in (Path(), Path("sub")):
        (folder / "mine.py").write_text("def net(): pass\ndef data(): pass\n")
    text = "[model]\nname = 'mine.py:net'\n[data]\nname = 'sub/mine.py:data'\n"
    assert set(load(text).own_code) == {"model.name", "data.name"}
    Path("sub/mine.py").write_text("def data(): pass\n")
    assert "data.name  two different files are called mine.py" in refusal(text)


def test_a_file_of_one_field_that_another_would_import_in_a_run_is_refused():
    for folder in (Path("one"), Path("two")):
        folder.mkdir()
    Path("one/nets.py").write_text(f"import no_such_module\n{NETS}")
    Path("two/sets.py").write_text("import no_such_module\ndef data(): pass\n")
    text = "[model]\nname = 'one/nets.py:MyNet'\n[data]\nname = 'two/sets.py:data'\n"
    load(text)
    Path("two/no_such_module.py").touch()
    assert "model.name  in a run, nets.py would import no_such_module.py of another field" in refusal(text)


def test_a_neuron_and_a_surrogate_of_ones_own_are_read():
    Path("mine.py").write_text("class N: ...\ndef slope(x): ...\n")
    text = "[neuron]\nname = 'mine.py:N'\nargs = { beta = 0.5 }\nsurrogate = 'mine.py:slope'\n"
    loaded = load(text)
    assert set(loaded.own_code) == {"neuron.name", "neuron.surrogate"}
    assert load("", "neuron.name=mine.py:N").label.endswith("· mine.py:N")
    unknown = refusal("", "neuron.surrogate=mine.py:slop")
    assert "has no class or function called 'slop'. Did you mean 'slope'?" in unknown
    assert 'expected lif, or your own as file.py:name, got the string "LIF"' in refusal("", "neuron.name=LIF")


@pytest.mark.parametrize("word", ["decay=0.5", "threshold=2.0", "reset=hard", "detach_reset=false"])
def test_a_setting_of_lif_is_refused_for_a_neuron_of_ones_own(word):
    Path("mine.py").write_text("class N: ...\n")
    refused = refusal("", "neuron.name=mine.py:N", f"neuron.{word}")
    assert f"neuron.{word.partition('=')[0]}" in refused
    assert "is for the neuron 'lif', and neuron.name is 'mine.py:N'. Use " in refused
    assert "only code of your own takes arguments, and neuron.name is 'lif'" in refusal("", "neuron.args.beta=1.0")


def test_arguments_can_be_given_as_overrides():
    Path("nets.py").write_text(NETS)
    loaded = load("[model]\nname = 'nets.py:MyNet'\nargs = { width = 8 }\n", "model.args.depth=3", "model.args.act=x")
    assert loaded.preset.model.args == {"width": 8, "depth": 3, "act": "x"}
    assert loaded.sources["model.args.depth"] == "override"
