"""Every system: what an image's entry, or the case, does not annotate teaches nothing."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from baselines.universal import masks
from baselines.universal.config import OF_LABELS, ONE_FOR_EACH_ENTRY, SYSTEMS, load_preset
from baselines.universal.entries import catalogue
from baselines.universal.losses import resunet_loss, uniseg_loss
from baselines.universal.masks import by_task
from baselines.universal.model import LabelModel, MaskModel, UniversalModel
from baselines.universal.networks import clip_driven, dodnet, multitalent
from baselines.universal.networks.multitalent import MultiTalent
from baselines.universal.systems import model_class, new_model
from evaluation.training.crops import Batch, Sample, stack
from evaluation.training.predict import blended_probabilities
from evaluation.training.tasks import Targets
from evaluation.training.windows import prompts_at_once, window_corners

PATCH = (32, 16, 16)
ENTRIES = ("acdc", "msd_spleen", "totalsegmentator")
SCOPE = {
    "acdc": ("myocardium", "left ventricle cavity", "right ventricle cavity"),
    "msd_spleen": ("spleen",),
    "totalsegmentator": ("spleen", "liver"),
}
JOINT = [system for system in SYSTEMS if system not in ONE_FOR_EACH_ENTRY]


def model_of(system: str, entries: tuple[str, ...] = ENTRIES) -> UniversalModel:
    preset = load_preset("smoke").of(system)
    training = preset.training.model_copy(update={"patch": PATCH})
    inference = preset.inference.model_copy(update={"patch": PATCH})
    preset = preset.model_copy(update={"training": training, "inference": inference})
    torch.manual_seed(0)
    known = catalogue({d: SCOPE[d] for d in entries}, {})
    return new_model(preset, known.model_copy(update={"text_width": 384}))


def batch_of(model: UniversalModel, *datasets: str, unannotated: str | None = None) -> Batch:
    random = torch.Generator().manual_seed(1)
    samples = []
    for dataset in datasets:
        rows = model.rows_of(dataset)
        image = torch.randn(1, *PATCH, generator=random)
        valid = torch.ones(len(rows), dtype=torch.bool)
        if isinstance(model, MaskModel):
            masks = torch.rand(len(rows), *PATCH, generator=random) > 0.7
            entry = model.known.of(dataset)
            valid = torch.tensor([name != unannotated for name in entry.classes])
        else:
            masks = torch.randint(len(rows), (1, *PATCH), generator=random, dtype=torch.uint8)
            unknown = [x.owner == unannotated for x in model.tasks.labels[dataset].leaves]
            valid = ~torch.tensor([False, *unknown])
            masks[~valid[masks.long()]] = 0
        samples.append(Sample(dataset, image, Targets(masks, rows, valid)))
    return stack(samples)


def output_gradients(model: UniversalModel) -> dict[str, torch.Tensor]:
    """For each (entry, class) what its own output parameters got, as far as they can be told."""
    grads = {name: p.grad for name, p in model.network.named_parameters()}
    found = {}
    for dataset in ENTRIES:
        for place, name in enumerate(SCOPE[dataset]):
            match model.preset.system:
                case "multi-decoder":
                    grad = grads[f"branches.{dataset}.head.weight"]
                    found[dataset, name] = torch.zeros(1) if grad is None else grad[place + 1]
                case "multitalent":
                    found[dataset, name] = grads["head.weight"][_row(model, dataset, name)]
                case "hermes-r" | "hermes-m":
                    token = model.known.of(dataset).tokens[place]
                    found[dataset, name] = torch.stack(
                        [grads[f"priors.{level}.tasks"][token].norm() for level in range(5)]
                    )
    return found


def _row(model: UniversalModel, dataset: str, name: str) -> int:
    return model.tasks.rows[dataset][name]


@pytest.mark.parametrize("system", ["multi-decoder", "multitalent", "hermes-r", "hermes-m"])
def test_an_entry_that_is_not_in_the_batch_has_untouched_outputs(system):
    model = model_of(system)
    model.loss(batch_of(model, "acdc", "msd_spleen")).total.backward()
    for (dataset, name), gradient in output_gradients(model).items():
        touched = bool((gradient != 0).any())
        assert touched == (dataset != "totalsegmentator"), (dataset, name)


@pytest.mark.parametrize("system", [s for s in JOINT if s not in ("multi-decoder", "uniseg")])
def test_a_mask_without_annotation_in_a_case_gets_exactly_no_gradient(system, monkeypatch):
    model = model_of(system)
    batch = batch_of(model, "acdc", "msd_spleen", unannotated="myocardium")
    kept = []
    loss_of = type(model).loss_of

    def watched(self, logits, batch):
        logits.retain_grad()
        kept.append(logits)
        return loss_of(self, logits, batch)

    monkeypatch.setattr(type(model), "loss_of", watched)
    model.loss(batch).total.backward()
    assert kept, "the loss was made of logits"
    for logits in kept:  # both heads of Hermes-M
        touched = (logits.grad != 0).flatten(2).any(-1)
        # The second image has one class: its list is filled up.
        assert torch.equal(touched, batch.valid)
        assert batch.valid.tolist() == [[False, True, True], [True, False, False]]


@pytest.mark.parametrize("system", OF_LABELS)
def test_a_label_without_annotation_in_a_case_gets_exactly_no_gradient(system):
    model = model_of(system, ("acdc",))
    kept = {}
    for unannotated in (None, "myocardium"):
        model.zero_grad()
        loss = model.loss(batch_of(model, "acdc", "acdc", unannotated=unannotated)).total
        loss.backward()
        assert torch.isfinite(loss)
        kept[unannotated] = {
            name: parameter.grad.flatten(1).abs().sum(1)
            for name, parameter in model.network.named_parameters()
            if name.endswith(("head.weight", "auxiliary_head.weight"))
            and parameter.grad is not None
        }
    assert kept["myocardium"]
    for name, gradient in kept["myocardium"].items():
        assert (gradient > 0).tolist() == [True, False, True, True], name
        assert (kept[None][name] > 0).all()


def test_a_label_without_annotation_in_one_image_learns_from_the_other():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 4, 4, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(2, (2, 4, 4, 4), generator=generator) * 2
    labels[1, 0] = 1
    valid = torch.tensor([[True, False, True], [True, True, True]])
    for loss in (
        partial(resunet_loss, weights=torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)),
        uniseg_loss,
    ):
        values = logits.clone().requires_grad_()
        loss(values, labels, valid=valid).total.backward()
        assert (values.grad[0, 1] == 0).all()
        assert (values.grad[0, [0, 2]] != 0).all()
        assert (values.grad[1] != 0).all()
        # All annotated, nothing changes; the first image by itself is one of two labels.
        everything = loss(logits, labels, valid=torch.ones_like(valid)).total
        assert everything == loss(logits, labels).total
    first = resunet_loss(
        logits[:1], labels[:1], torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64), valid[:1]
    )
    two = resunet_loss(
        logits[:1, [0, 2]], labels[:1] // 2, torch.tensor([0.5, 3.0], dtype=torch.float64)
    )
    torch.testing.assert_close(first.total, two.total)


def test_systems_of_labels_are_known_before_torch_is():
    assert {n for n in SYSTEMS if issubclass(model_class(n), LabelModel)} == set(OF_LABELS)


@pytest.mark.parametrize("system", ["uniseg", *ONE_FOR_EACH_ENTRY])
def test_channels_of_other_tasks_get_exactly_no_gradient(system):
    alone = system in ONE_FOR_EACH_ENTRY
    model = model_of(system, ("msd_spleen",) if alone else ENTRIES)
    model.loss(batch_of(model, "msd_spleen", "msd_spleen")).total.backward()
    gradient = model.network.head.weight.grad.flatten(1).abs().sum(1)
    assert (gradient[:2] > 0).all(), "background and spleen"
    assert len(gradient) == (2 if alone else 4)
    assert (gradient[2:] == 0).all()


def test_uniseg_has_its_prompt_where_the_preset_says():
    model = model_of("uniseg")
    side = PATCH[0] // model.preset.network.prompt_level
    assert model.network.fusion.prompt.shape[2] == side


def test_uniseg_refuses_a_batch_of_two_tasks():
    model = model_of("uniseg")
    with pytest.raises(Exception, match="one task"):
        model.loss(batch_of(model, "acdc", "msd_spleen"))


def test_frozen_text_gets_no_gradient_and_no_update():
    model = model_of("clip-driven")
    names = [name for name, _ in model.network.named_parameters()]
    assert not [name for name in names if "embedding" in name]
    assert "head.embedding" in model.network.state_dict()
    # Both spleens are CT's: one vector.
    rows = model.tasks.rows
    places = model.places.tolist()
    assert places[rows["msd_spleen"]["spleen"]] == places[rows["totalsegmentator"]["spleen"]]


def test_tasks_of_different_lists_come_into_common_columns():
    logits = torch.arange(4.0).view(2, 2, 1, 1, 1).requires_grad_()
    valid = torch.tensor([[True, True], [True, False]])
    places = torch.tensor([[7, 3], [3, 0]])
    found = by_task(logits, logits.detach() > 1, valid, places)
    assert found.logits.flatten(1).tolist() == [[0.0, 1.0, 0.0], [0.0, 2.0, 0.0]]
    assert found.valid.tolist() == [[False, True, True], [False, True, False]]
    found.logits.sum().backward()
    assert logits.grad.flatten().tolist() == [1.0, 1.0, 1.0, 0.0], "the filling has none"


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_answer_for_one_task_does_not_depend_on_what_else_is_asked(system):
    """So a prediction in pieces, which bounds its memory, is the prediction at once."""
    entries = ("acdc",) if system in ONE_FOR_EACH_ENTRY else ENTRIES
    model = model_of(system, entries).eval()
    rows, window = model.prompts(model.rows_of("acdc")), torch.randn(1, 1, *PATCH)
    with torch.inference_mode():
        whole = model.answers(window, rows)
        apart = torch.cat([model.answers(window, row[None]) for row in rows], dim=1)
    torch.testing.assert_close(apart, whole, rtol=0, atol=1e-6)


IMAGE_FIRST = ("multitalent", "dodnet", "clip-driven")
CROP = (40, 20, 18)
HEAD = "dynamic_head"


@pytest.mark.parametrize("system", ["hermes-r", *IMAGE_FIRST])
def test_memory_of_a_prediction_does_not_grow_with_the_tasks(system, monkeypatch):
    """Hermes' tokens all meet the image, but masks are made a few at a time.

    Watched is what the heads compute, not only what is handed back.
    """
    model = model_of(system).eval()
    rows = model.prompts(model.rows_of("acdc"))
    most = len(rows) - 1
    made = []

    def watched(of):
        def seen(*args):
            found = of(*args)
            made.append(found.shape[1:-3].numel())  # (B, K, X, Y, Z), or (B, K, 1, X, Y, Z)
            return found

        return seen

    for module, name in ((masks, "likeness"), (dodnet, HEAD), (clip_driven, HEAD)):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    conv3d = SimpleNamespace(conv3d=watched(multitalent.functional.conv3d))
    monkeypatch.setattr(multitalent, "functional", conv3d)
    if system == "multitalent":
        whole = model.network.head
        whole.register_forward_hook(lambda *_: pytest.fail("every channel was made"))
    every = {}
    for chunk in (1, most, None):
        made.clear()
        maps = blended_probabilities(
            model, torch.randn(CROP, generator=seeded()), rows, PATCH, chunk
        )
        every[chunk] = torch.stack([found for _, found in maps])
        assert max(made) == (chunk or len(rows))
    for chunk in (1, most):
        torch.testing.assert_close(every[chunk], every[None], rtol=0, atol=1e-6)


def test_as_many_tasks_at_once_as_the_memory_allows(monkeypatch):
    model = model_of("multitalent").eval()
    rows, made = model.prompts(model.rows_of("acdc")), []
    decode = model.network.decode

    def watched(features, channels):
        made.append(len(channels))
        return decode(features, channels)

    monkeypatch.setattr(model.network, "decode", watched)
    for memory in (1, 64):
        changes = {"memory_mib": memory, "window_batch": 8}
        inference = model.preset.inference.model_copy(update=changes)
        model.preset = model.preset.model_copy(update={"inference": inference})
        made.clear()
        list(blended_probabilities(model, torch.randn(CROP), rows))
        voxels = torch.Size(CROP).numel(), torch.Size(PATCH).numel()
        fitting = prompts_at_once(inference, *voxels, model.maps_per_prompt)
        assert max(made) == min(len(rows), fitting)
    assert max(made) == len(rows) > 1


@pytest.mark.parametrize("system", IMAGE_FIRST)
@pytest.mark.parametrize("memory", [0, 64])
def test_a_window_passes_the_body_once_whatever_is_asked(system, memory):
    """In memory and from a scratch file, with the answers of one walk that keeps nothing."""
    model = model_of(system).eval()
    inference = model.preset.inference.model_copy(update={"memory_mib": memory, "window_batch": 3})
    model.preset = model.preset.model_copy(update={"inference": inference})
    rows, crop = model.prompts(model.rows_of("acdc")), torch.randn(CROP, generator=seeded())
    passed = []
    model.network.encoder.register_forward_hook(lambda _m, images, _f: passed.append(len(*images)))
    corners = window_corners(CROP, PATCH, inference.overlap)
    found = {}
    for chunk in (1, 2, len(rows)):
        passed.clear()
        maps = blended_probabilities(model, crop, rows, PATCH, chunk)
        found[chunk] = torch.stack([probability for _, probability in maps])
        assert sum(passed) == len(corners) > 3
    for chunk in (1, 2):
        torch.testing.assert_close(found[chunk], found[len(rows)], rtol=0, atol=1e-6)


def test_channels_asked_for_alone_are_those_of_all():
    network = MultiTalent(9, (4, 4, 8, 8, 8)).eval()
    image, channels = torch.randn(2, 1, *PATCH, generator=seeded()), torch.tensor([7, 0, 3])
    with torch.inference_mode():
        alone = network.decode(network.encode(image), channels)
        torch.testing.assert_close(alone, network(image)[:, channels], rtol=0, atol=1e-6)


def seeded():
    return torch.Generator().manual_seed(5)


@pytest.mark.parametrize("system", ["hermes-r", "hermes-m"])
def test_sequences_of_one_entry_have_modality_tokens_of_their_own(system):
    """Training and prediction read the row of the scan's sequence; CT has one whatever is said."""
    known = catalogue(
        {"chaos_mr": ["liver"], "chaos_ct": ["liver"]}, {},
        {"chaos_mr": ["t1in", "t2spir"], "chaos_ct": ["venous"]},
    )  # fmt: skip
    assert known.modalities == ("t1in", "t2spir", "ct")
    preset = load_preset("smoke").of(system)
    torch.manual_seed(0)
    model = new_model(preset, known)
    rows = model.rows_of("chaos_mr")
    asked = [int(model.prompts(rows, name)[0, 1]) for name in ("t1in", "t2spir", "t2", None)]
    assert asked == [0, 1, -1, -1]
    assert model.prompts(model.rows_of("chaos_ct"), "venous")[0, 1] == 2
    image = torch.randn(1, *PATCH)
    targets = Targets(image > 1, rows, torch.tensor([True]))
    model.loss(stack([Sample("chaos_mr", image, targets, "t2spir")])).total.backward()
    tables = [p for n, p in model.network.named_parameters() if "priors.0" in n and len(p) == 4]
    assert tables, [n for n, _ in model.network.named_parameters() if "priors.0" in n]
    for table in tables:
        touched = table.grad.flatten(1).abs().sum(dim=1) > 0
        assert touched.tolist() == [False, True, False, False]
