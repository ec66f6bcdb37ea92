"""The live page in a real browser: the status's numbers, without a reload and without a fault."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect, sync_playwright
from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ader_stream.metrics import Metrics
from ader_stream.monitor.page.alerts import FIRING, RESOLVED, Prometheus, ShownAlert
from ader_stream.monitor.page.routes import PageRoutes
from ader_stream.monitor.status.routes import StatusRoutes
from ader_stream.monitor.status.whole import Status, StatusBoard
from ader_stream.runtime.http import HttpServer, make_app
from tests.fakes import FakeKafka
from tests.unit.monitor.shop import shop_topics
from tests.unit.monitor.test_status import five, made_status, publish, score, serve

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def kafka() -> FakeKafka:
    kafka = five(shop_topics())
    for version in (1, 2):
        publish(kafka, version, blocks=[version + 1])
        score(kafka, version + 2, version, targets=100, hits20=50, reciprocal20=0)
    return kafka


async def recommend(request: Request) -> JSONResponse:
    items = (await request.json())["items"]
    reasons = [{"item": items[-1], "weight": 0.75}, {"item": items[0], "weight": 0.25}]
    ranked = [{"item": f"after-{item}", "score": 1.0, "reasons": reasons} for item in items]
    return JSONResponse({"version": 2, "fallback": False, "items": ranked})


class Alerting(Prometheus):
    """Prometheus with one alert that fires and one that did."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", "shop")

    def alerts(self) -> list[ShownAlert]:
        labels, book = {"partition": "3"}, "http://book/#adertest"
        return [
            ShownAlert("AderTest", "page", labels, FIRING, 1_700_000_000, "Partition 3.", book),
            ShownAlert("AderOld", "ticket", {}, RESOLVED, 1_700_000_000, "", "javascript:alert()"),
        ]


def serving(*routes: Route) -> HttpServer:
    server = HttpServer(make_app(Metrics(CollectorRegistry()), str, routes), "127.0.0.1", 0)
    server.start()
    return server


@pytest.fixture(scope="module")
def board(kafka: FakeKafka) -> Iterator[tuple[StatusBoard, str]]:
    worker = serving(Route("/recommend", recommend, methods=["POST"]))
    serve(kafka, f"127.0.0.1:{worker.port}", 2, 0, 1)
    board = StatusBoard()
    board.show(made_status(kafka))
    page = PageRoutes(lambda: board.status.versions.addresses, Alerting())
    ending: list[bool] = []
    server = serving(*StatusRoutes(board, lambda: bool(ending)).routes(), *page.routes())
    yield board, f"http://127.0.0.1:{server.port}/"
    ending.append(True)
    server.stop()
    worker.stop()


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        yield browser.new_page()
        browser.close()


@pytest.fixture
def page(browser_page: Page, board: tuple[StatusBoard, str]) -> Iterator[Page]:
    """The page, opened; anything on its console is a fault."""
    said: list[str] = []
    browser_page.on("console", lambda message: said.append(message.text))
    browser_page.on("pageerror", lambda error: said.append(str(error)))
    browser_page.goto(board[1])
    expect(browser_page.locator("#signals article").first).to_be_visible()
    yield browser_page
    assert not said


def shown_blocks(page: Page) -> list[tuple[int, int]]:
    rows = page.locator("#blocks tbody tr").all()
    texts = [row.locator("th, td").all_inner_texts() for row in rows]
    return sorted((int(text[0]), int(text[2])) for text in texts)


def test_the_numbers_are_those_of_the_status(page: Page, board: tuple[StatusBoard, str]) -> None:
    status = board[0].status
    assert shown_blocks(page) == [(b.block, b.clicks) for b in status.blocks.blocks]
    signals = status.as_json()["drift"]["block"]["drift"]["signals"]
    assert page.locator("#signals article").count() == len(signals)
    states = page.locator("#signals h3 span").all_inner_texts()
    assert states == [signal["state"] for signal in signals]
    expect(page.locator("#versions tbody tr").first).to_contain_text("50.0")


def test_a_new_version_appears_by_itself(
    page: Page, board: tuple[StatusBoard, str], kafka: FakeKafka
) -> None:
    expect(page.locator("#pipeline")).not_to_contain_text("version 3")
    publish(kafka, 3, blocks=[4])
    board[0].show(made_status(kafka))
    expect(page.locator("#pipeline")).to_contain_text("version 3")


def test_a_session_can_be_tried(page: Page) -> None:
    page.get_by_label("Items of a session").fill("hat, scarf")
    page.keyboard.press("Enter")
    expect(page.locator("#answer")).to_contain_text("after-scarf")
    expect(page.locator("#answer")).to_contain_text("because of scarf 75 %, hat 25 %")


def test_alerts_lead_to_the_runbook(page: Page) -> None:
    fires, old = page.locator("#alerts li").all()
    expect(fires).to_contain_text("firing")
    expect(fires).to_contain_text("page, partition 3")
    expect(fires).to_contain_text("2023-11-14 22:13 UTC")
    expect(fires.get_by_role("link")).to_have_attribute("href", "http://book/#adertest")
    expect(old).to_contain_text("fired last at")
    expect(old.get_by_role("link")).to_have_count(0)


def test_before_the_first_block_the_page_says_what_it_waits_for(
    page: Page, board: tuple[StatusBoard, str]
) -> None:
    before = board[0].status
    board[0].show(Status())
    expect(page.locator("#scope-about")).to_contain_text("Nothing to compare yet")
    board[0].show(before)
    expect(page.locator("#signals article").first).to_be_visible()


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read_by_everyone_on_every_screen(page: Page, size: dict, scheme: str) -> None:
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    violations = Axe().run(page).response["violations"]
    assert [(found["id"], found["nodes"][0]["target"]) for found in violations] == []
