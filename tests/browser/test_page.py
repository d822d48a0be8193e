"""The page of a step in a real browser, against gpubp's own numbers and published ones."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import gpubp
from gpubp.inspection.lessons import LESSONS, lesson_model, write_lessons
from gpubp.inspection.page import PageNames
from gpubp.nn.activations import ACTIVATIONS

HIDDEN = [name for name in ACTIVATIONS if name != "exp"]
OUTPUTS = (
    *(("identity", "squared_error"), ("identity", "absolute_error"), ("identity", "huber")),
    *(("identity", "quantile"), ("exp", "poisson"), ("sigmoid", "binary_cross_entropy")),
    *(("sigmoid", "smoothed_binary_cross_entropy"), ("sigmoid", "binary_focal")),
    *(("softmax", "cross_entropy"), ("softmax", "smoothed_cross_entropy"), ("softmax", "focal")),
    *(("softmax", "squared_error"), ("tanh", "squared_error")),
)
NASTY = ("<script>alert(1)</script>", "\"&'", "🧠 emoji", "دمای اتاق")

PARTS = "h1,h2,h3,p,button,select,label > span,figure,td,th,circle,.weight,.name,.aside,.folded"
BOXES = f"""[...document.querySelectorAll("{PARTS}")]
    .filter((each) => (each.offsetParent !== null || each.ownerSVGElement)
        && !each.closest(".visually-hidden") && !each.querySelector("{PARTS}"))
    .map((each) => [each.textContent.trim().slice(0, 30), each.getBoundingClientRect(),
        each.closest(".numbers")])
    .map(([text, box, within]) => ({{text, x: box.x, y: box.y, r: box.right,
        b: Math.min(box.bottom, within?.getBoundingClientRect().bottom ?? box.bottom)}}))
    .filter((box) => box.r > box.x && box.b > box.y)"""


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    path = tmp_path_factory.mktemp("lessons") / "learn.html"
    write_lessons(path)
    return path


def shown(page, key):
    return float(page.locator(f'[data-q="{key}"]').get_attribute("data-value"))


@pytest.mark.parametrize("language", ["en", "fa"])
def test_every_stage_of_every_lesson_is_walked_by_keyboard(visit, lessons, language):
    page = visit(lessons)
    page.select_option("#language", language)
    for number, name in enumerate(LESSONS):
        page.select_option("#lesson", str(number))
        page.locator("h1").click()
        count = int(page.locator("#stage").get_attribute("max")) + 1
        assert count == 4 + 4 * len(LESSONS[name].layers)
        titles = []
        for at in range(1, count + 1):
            assert page.evaluate("location.hash") == f"#stage={at}&lesson={name}"
            titles.append(page.locator("#stage-title").inner_text())
            page.keyboard.press("ArrowRight")
        assert len(set(titles)) == count
        assert all("{" not in title for title in titles)
        page.keyboard.press("Home")
        assert page.locator("#stage").input_value() == "0"


def test_the_address_keeps_the_stage(visit, lessons):
    page = visit(lessons, "#stage=6&lesson=xor")
    assert page.locator("#stage").input_value() == "5"
    assert page.locator("#lesson").input_value() == str(list(LESSONS).index("xor"))


def test_the_worked_example_has_the_published_digits(visit, tmp_path):
    """Matt Mazur, "A Step by Step Backpropagation Example" (2015)."""
    path = tmp_path / "page.html"
    write_lessons(path, "worked_example")
    page = visit(path, "#stage=2")
    page.locator('[data-id="z:1:0"]').first.click()
    sentence = page.locator(".sentence").inner_text()
    assert sentence == "0.05 × 0.15 + 0.1 × 0.2 + 0.35 = 0.3775"
    assert page.locator(".neuron.lit").count() == 2
    assert page.locator(".edge.lit").count() == 2
    page = visit(path, "#stage=12")
    assert "0.298371109" in page.locator("#loss").inner_text()
    # The text prints 0.291027924, which hidden errors by weights already changed would give; the
    # weights that it prints give this:
    assert "0.291027774" in page.locator("#loss_again").inner_text()
    page = visit(path, "#stage=11")
    digits = {"0:0": 0.35891648, "0:1": 0.408666186, "1:0": 0.511301270, "1:1": 0.561370121}
    for place, published in digits.items():
        assert shown(page, f"weightupdate:2:{place}") == pytest.approx(published, abs=5e-9)
    digits = {"0:0": 0.149780716, "0:1": 0.19956143, "1:0": 0.24975114, "1:1": 0.29950229}
    for place, published in digits.items():
        assert shown(page, f"weightupdate:1:{place}") == pytest.approx(published, abs=5e-9)


def test_every_number_is_put_into_its_formula(visit, tmp_path):
    """The loss and the pass after the step too, whose numbers are those of the new weights."""
    path = tmp_path / "page.html"
    write_lessons(path, "worked_example")
    page = visit(path, "#stage=6")
    page.locator('[data-id="part:2:1"]').click()
    assert page.locator(".sentence").inner_text() == "½ (0.99 − 0.772928465)² = 0.0235600256"
    page.click("#loss")
    assert page.locator(".sentence").inner_text().endswith("= 0.298371109")
    page = visit(path, "#stage=12")
    page.locator('.neuron[data-id="again:2:0"]').click()
    weighted_sum, output = page.locator(".sentence").all_inner_texts()
    z = float(weighted_sum.split(" = ")[1])
    assert output.startswith(f"1 / (1 + exp(−{z})) = ")
    assert float(output.split(" = ")[1]) == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-9)
    assert page.locator(".neuron.lit").count() == 3


def test_softmax_is_written_with_all_weighted_sums(visit, tmp_path):
    net = gpubp.Network([2, 3], output="softmax", backend="cpu", dtype="float64", seed=1)
    net.trace([[1.0, -1.0]], [2]).to_html(tmp_path / "page.html")
    page = visit(tmp_path / "page.html", "#stage=3")
    page.locator('[data-id="y:1:2"]').first.click()
    left, right = page.locator(".sentence").inner_text().split(" = ")
    powers = [float(each) for each in left.partition("/ (")[2].rstrip(")").split(" + ")]
    assert powers[2] / sum(powers) == pytest.approx(float(right), rel=1e-7)
    assert float(right) == pytest.approx(net.predict([[1.0, -1.0]])[0, 2], abs=1e-9)


def test_a_long_table_is_folded_again_in_the_next_stage(visit, tmp_path):
    net = gpubp.Network([60, 60, 1], backend="cpu")
    net.trace(np.ones((1, 60)), [[1.0]]).to_html(tmp_path / "page.html")
    page = visit(tmp_path / "page.html", "#stage=1")
    rows = page.locator("#numbers tbody tr")
    assert rows.count() == 50
    page.get_by_text("List all").click()
    assert rows.count() == 60
    page.click("#forth")
    assert rows.count() == 50


def test_a_dark_page_is_printed_dark_on_white(visit, lessons):
    page = visit(lessons, color_scheme="dark")
    page.click("#theme")
    page.click("#theme")
    page.emulate_media(media="print")
    style = "getComputedStyle(document.querySelector('.card'))"
    assert page.evaluate(f"{style}.color") == "rgb(29, 35, 41)"
    assert page.evaluate(f"{style}.backgroundColor") == "rgb(255, 255, 255)"


def test_the_network_fits_the_paper(visit, lessons):
    """A browser lays a page out anew to print it, but runs no script then."""
    page = visit(lessons, "#stage=8", viewport={"width": 1100, "height": 800})
    page.emulate_media(media="print")
    page.evaluate("document.getElementById('diagram').style.width = '600px'")
    assert page.evaluate("document.getElementById('diagram').scrollWidth") <= 600


def network(number, random):
    """Return a random network with rows, every activation and every loss among them."""
    depth = 1 + number % 3
    chosen = [HIDDEN[(3 * number + k) % len(HIDDEN)] for k in range(depth)]
    output, loss = OUTPUTS[number % len(OUTPUTS)]
    width = 3
    sizes = [2 + number % 3, *[width] * depth, 3]
    forms = {"residual": number % 4 == 1, "weights": "ntk" if number % 5 == 2 else "standard"}
    if "softmax" not in chosen:
        forms["mixing"] = number % 6 == 3
    net = gpubp.Network(sizes, chosen, output, "cpu", "float64", seed=number, **forms)
    x = random.standard_normal((3, sizes[0]))
    expected = random.uniform(0.1, 0.9, (3, 3))
    if output == "softmax":
        expected /= expected.sum(axis=1, keepdims=True)
    return net, x, expected, loss


@pytest.mark.parametrize("number", range(20))
def test_the_numbers_are_those_of_gpubp(visit, tmp_path, number):
    """Errors, gradients, updates and losses, at once and after 100 steps of SGD."""
    net, x, expected, loss = network(number, np.random.default_rng(number))
    path, language = tmp_path / "page.html", ("en", "fa")[number % 2]
    net.trace(x, expected, 0.05, loss).to_html(path, language=language)
    page = visit(path)
    for steps in (0, 100):
        if steps:
            page.click("#hundred")
            for _ in range(steps):
                net.train_step(x, expected, optimizer=gpubp.SGD(0.05), loss=loss)
        trace = net.trace(x, expected, 0.05, loss)
        depth = len(trace.layers)
        close = {"rel": 1e-9, "abs": 1e-9}
        assert float(page.locator("#loss-now").get_attribute("data-value")) == pytest.approx(
            trace.loss, **close
        )
        for layer, noted in enumerate(trace.layers, 1):
            go_to(page, 2 * layer)
            assert shown(page, f"z:{layer}:1") == pytest.approx(noted.weighted_sum[0, 1], **close)
            go_to(page, 2 * depth + 3 + depth - layer)
            for j in range(noted.error.shape[1]):
                assert shown(page, f"error:{layer}:{j}") == pytest.approx(
                    noted.error[0, j], **close
                )
            go_to(page, 4 * depth + 3 - layer)
            for i, j in np.ndindex(noted.weight_before.shape):
                key = f"weightgradient:{layer}:{j}:{i}"
                assert shown(page, key) == pytest.approx(noted.weight_gradient[i, j], **close)
            if noted.mix_gradient is not None:
                assert shown(page, f"mixgradient:{layer}:0") == pytest.approx(
                    noted.mix_gradient[0], **close
                )


def go_to(page, stage):
    page.evaluate(f"location.hash = 'stage={stage}'")
    page.wait_for_function(f"document.getElementById('stage').value === '{stage - 1}'")


def test_every_neuron_and_weight_opens(visit, lessons):
    """Every formula ends in the number of the table."""
    page = visit(lessons)
    for number in range(len(LESSONS)):
        page.select_option("#lesson", str(number))
        for at in range(int(page.locator("#stage").get_attribute("max")) + 1):
            page.evaluate(f"document.getElementById('stage').value = {at}")
            page.locator("#stage").dispatch_event("input")
            for place in range(page.locator("#numbers button").count()):
                page.locator("#numbers button").nth(place).click()
                value = page.locator("#numbers tbody tr").nth(place).locator(".number")
                assert page.locator(".sentence").last.inner_text().endswith(value.inner_text())


@pytest.mark.parametrize("selector", [".neuron[role=button]", "#numbers button", "#loss"])
def test_what_is_opened_by_keyboard_keeps_the_focus(visit, lessons, selector):
    page = visit(lessons, "#stage=8")
    page.locator(selector).last.focus()
    focused = "document.activeElement.dataset.id"
    before = page.evaluate(focused)
    page.keyboard.press("Enter")
    assert page.locator(".sentence").count() > 0
    assert before
    assert page.evaluate(focused) == before


def test_inputs_expected_values_and_weights_can_be_changed(visit, tmp_path):
    path = tmp_path / "page.html"
    write_lessons(path, "worked_example")
    page = visit(path, "#stage=2")
    net = gpubp.Network([2, 2, 2], "sigmoid", "sigmoid", "cpu", "float64")
    for layer, (weight, bias) in zip(net.layers, LESSONS["worked_example"].layers, strict=True):
        layer.weight[...], layer.bias[...] = np.array(weight), np.array(bias)
    page.locator('[data-id="weightold:1:0:0"]').click()
    page.locator("#edit").fill("0.75")
    page.keyboard.press("Tab")
    net.layers[0].weight[0, 0] = 0.75
    page.locator('.neuron[data-id="y:0:1"]').click()
    page.locator("#edit").fill("-2")
    page.keyboard.press("Tab")
    truth = net.trace([[0.05, -2]], [[0.01, 0.99]], 0.5, "squared_error").loss
    now = float(page.locator("#loss-now").get_attribute("data-value"))
    assert now == pytest.approx(truth, rel=1e-12)


def test_names_from_a_table_are_text(visit, tmp_path):
    net = gpubp.Network([4, 3, 2], output="softmax", backend="cpu", dtype="float64")
    about = {"units": (2.0, -1.5), "row": 3, "expected": NASTY[0]}
    names = PageNames(NASTY, NASTY[:2], NASTY[1], NASTY[0], **about)
    net.trace([[1.0, 2, 3, 4]], [1]).to_html(tmp_path / "page.html", names)
    page = visit(tmp_path / "page.html")
    assert page.locator("h1").inner_text() == f"\u2068{NASTY[0]}\u2069: row 3"
    target, expected, units = page.locator("#notes li").all_inner_texts()[:3]
    assert NASTY[1] in target
    assert NASTY[0] in expected
    assert f"{NASTY[1]}\u2069 = 2 × y + (−1.5)" in units
    assert [each.inner_text() for each in page.locator("#numbers button").all()] == list(NASTY)
    assert page.locator("script").count() == 3


def test_long_names_break_no_other_word(visit, tmp_path):
    net = gpubp.Network([2, 1], backend="cpu")
    names = PageNames([f"floor area of the {each} in m2, measured outside" for each in ("a", "b")])
    net.trace([[1.0, 1 / 3]], [[1.0]]).to_html(tmp_path / "page.html", names, "fa")
    page = visit(tmp_path / "page.html", viewport={"width": 360, "height": 800})
    lines = """each => { const range = document.createRange(); range.selectNodeContents(each);
        return range.getClientRects().length; }"""
    for cell in page.locator("#numbers th, #numbers td.quiet").all():
        assert cell.evaluate(lines) == 1 or " " in cell.inner_text()


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("language", ["en", "fa"])
def test_nothing_overlaps_or_leaves_the_page(visit, lessons, language, width):
    page = visit(lessons, "#stage=8", viewport={"width": width, "height": 800})
    page.select_option("#language", language)
    assert page.evaluate("document.documentElement.dir") == ("rtl" if language == "fa" else "ltr")
    for number, name in enumerate(LESSONS):
        page.select_option("#lesson", str(number))
        page.locator("#stage").evaluate("each => each.value = each.max - 1")
        page.locator("#stage").dispatch_event("input")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = page.evaluate(BOXES)
        assert len(boxes) > 25
        for one, other in combinations(boxes, 2):
            across = min(one["r"], other["r"]) - max(one["x"], other["x"])
            down = min(one["b"], other["b"]) - max(one["y"], other["y"])
            assert across <= 2 or down <= 2, (name, one, other)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "fa"])
def test_axe_finds_no_serious_fault(visit, lessons, language, scheme):
    axe = pytest.importorskip("axe_core_python.sync_playwright").Axe()
    page = visit(lessons, "#stage=8", color_scheme=scheme)
    page.select_option("#language", language)
    page.locator(".neuron[role=button]").last.click()
    found = axe.run(page)["violations"]
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_the_page_of_a_large_network_is_small_and_folded(visit, tmp_path):
    net = gpubp.Network([784, 128, 10], output="softmax", backend="cpu")
    x = np.random.default_rng(0).uniform(size=(1, 784))
    net.trace(x, [3]).to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").stat().st_size < 3e6
    page = visit(tmp_path / "page.html", "#stage=2")
    assert page.locator(".neuron").count() == 7 + 7 + 7
    assert page.locator(".folded").all_text_contents() == [
        "+ 777 smaller", "+ 121 smaller", "+ 3 smaller",
    ]  # fmt: skip
    assert "50 largest of 128" in page.locator("#folded").inner_text()
    page.locator("#numbers button").first.click()
    page.get_by_text("Write out the other 778 terms").click()
    assert page.locator(".sentence").inner_text().count("×") == 784


def test_a_learning_rate_too_large_is_told(visit, lessons):
    page = visit(lessons, "#lesson=too_large_rate")
    for _ in range(12):
        page.click("#hundred")
    assert "too large" in page.locator("#progress").inner_text()
    page.click("#reset")
    first = lesson_model("too_large_rate")
    assert page.locator("#rate-number").input_value() == str(first["learning_rate"])
