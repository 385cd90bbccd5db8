# SPDX-License-Identifier: MIT OR Apache-2.0
"""Users of the page: bob and ann, each in a browser of his own.

What they see is looked for as one who cannot see would find it, by role and name; axe-core looks at each view by WCAG 2.2 AA, in light and in
dark. Called by page.rs with the service's URL and a folder for pictures. Fails with what was not as it should be.
"""

import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

URL, PICTURES = sys.argv[1], Path(sys.argv[2])
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
WRONG: list[str] = []


def visitor(browser: Browser, **how) -> Page:
    """A browser's page of its own, of which everything that goes wrong is kept."""
    context = browser.new_context(ignore_https_errors=True, **how)
    page = context.new_page()
    page.on("pageerror", lambda error: WRONG.append(f"script: {error}"))
    page.on("console", lambda said: WRONG.append(said.text) if said.type == "error" and "status of 4" not in said.text else None)
    page.goto(URL)
    return page


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def look(page: Page, name: str) -> None:
    """Takes pictures of a view, and holds it against the rules, in both schemes."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.screenshot(path=PICTURES / f"{name}-{scheme}.png")
        broken = Axe().run(page, options=RULES).response["violations"]
        for rule in broken:
            nodes = "; ".join(f"{node['html']} ({node['failureSummary']})" for node in rule["nodes"][:3])
            WRONG.append(f"{name}, {scheme}: {rule['id']}: {nodes}")
    page.emulate_media(color_scheme="light")


def contact(page: Page, name: str):
    return page.get_by_role("navigation").get_by_role("button", name=name)


def say(page: Page, text: str) -> None:
    page.get_by_role("textbox", name="Message").fill(text)
    page.keyboard.press("Enter")


def test(browser: Browser) -> None:
    bob = visitor(browser)
    expect(bob.get_by_role("heading", name="Log in")).to_be_visible()
    look(bob, "login")
    log_in(bob, "bob", "wrong")
    expect(bob.get_by_role("alert")).to_contain_text("the name or the password is wrong")
    log_in(bob, "bob", "b")
    expect(bob.get_by_role("heading", name="Bob")).to_be_visible()
    expect(bob.get_by_role("alert")).to_be_hidden()
    assert bob.evaluate("document.cookie") == "", "a script reads the session"

    # Who asks to see him.
    requests = bob.get_by_role("region", name="Asking to see you")
    expect(requests.get_by_role("listitem")).to_have_count(2)
    look(bob, "requests")
    requests.get_by_role("button", name="Allow x@foreign.example").click()
    expect(requests.get_by_role("listitem")).to_have_count(1)
    requests.get_by_role("button", name="Block y@foreign.example").click()
    expect(requests).to_be_hidden()

    # A contact, by the keyboard alone.
    bob.get_by_role("button", name="Add", exact=True).focus()
    bob.keyboard.press("Enter")
    look(bob, "add")
    bob.keyboard.type("nobody at all")
    bob.keyboard.press("Enter")
    expect(bob.get_by_role("alert")).to_contain_text("not an address")
    bob.get_by_role("button", name="Add", exact=True).focus()
    bob.keyboard.press("Enter")
    bob.keyboard.press("Escape")
    expect(bob.get_by_role("dialog")).to_be_hidden()
    expect(bob.get_by_role("button", name="Add", exact=True)).to_be_focused()
    bob.keyboard.press("Enter")
    bob.keyboard.type("ann@local.example")
    bob.keyboard.press("Tab")
    bob.keyboard.type("Ann")
    bob.keyboard.press("Enter")
    expect(contact(bob, "Ann")).to_contain_text("Offline")

    # She comes, and he sees it.
    ann = visitor(browser, viewport={"width": 390, "height": 780})
    log_in(ann, "ann@local.example", "a")
    expect(contact(bob, "Ann")).to_contain_text("Available")
    ann.get_by_role("combobox", name="My state").select_option("Do not disturb")
    ann.get_by_role("textbox", name="Note that others see").fill("writing")
    ann.keyboard.press("Enter")
    expect(contact(bob, "Ann")).to_contain_text("Do not disturb – writing")

    # She stands in two groups, and then in none.
    people = bob.get_by_role("region", name="Contacts")
    for groups, shown in [("Work, Friends & more", ["Friends & more", "Work"]), ("", [])]:
        contact(bob, "Ann").first.click()
        bob.get_by_role("button", name="Edit").click()
        expect(bob.get_by_role("dialog")).to_contain_text("Change a contact")
        bob.get_by_label("Groups").fill(groups)
        bob.get_by_role("button", name="Change").click()
        expect(people.get_by_role("heading", level=3)).to_have_text(shown)
        expect(contact(bob, "Ann")).to_have_count(max(len(shown), 1))
        if shown:
            look(bob, "groups")

    # They talk. What is written is text, whatever it looks like.
    contact(bob, "Ann").click()
    expect(bob.get_by_role("textbox", name="Message")).to_be_focused()
    say(bob, "hello <b>Ann</b>\nare you there?")
    expect(bob.get_by_role("log")).to_contain_text("Delivered")
    expect(contact(ann, "bob@local.example")).to_contain_text("1 unread")
    expect(ann).to_have_title("(1) Presence")
    look(ann, "small")
    contact(ann, "bob@local.example").click()
    expect(ann.get_by_role("log")).to_contain_text("hello <b>Ann</b>")
    assert ann.locator("#log b").count() == 0, "what was written has become part of the page"
    say(ann, "I am.")
    expect(bob.get_by_role("log")).to_contain_text("I am.")
    look(bob, "talk")
    look(ann, "small-talk")
    ann.reload()
    expect(contact(ann, "bob@local.example")).to_be_visible()
    contact(ann, "bob@local.example").click()
    expect(ann.get_by_role("log")).to_contain_text("I am.")

    # She has enough of him; he cannot tell that from her being away.
    ann.get_by_role("button", name="Block", exact=True).click()
    expect(contact(bob, "Ann")).to_contain_text("Offline")
    say(bob, "hello?")
    expect(bob.get_by_role("log")).to_contain_text("Not delivered: nobody is there to take it")
    ann.get_by_role("button", name="Unblock").click()
    expect(contact(bob, "Ann")).to_contain_text("Do not disturb")

    # What bob has decided, and decides otherwise.
    bob.get_by_role("button", name="Privacy").click()
    rules = bob.get_by_role("list", name="What I have decided")
    expect(rules.get_by_role("listitem")).to_have_count(2)
    bob.get_by_label("Address or whole domain").fill("evil.example")
    bob.get_by_role("dialog").get_by_role("button", name="Block", exact=True).click()
    expect(rules).to_contain_text("evil.example")
    look(bob, "privacy")
    rules.get_by_role("button", name="Remove the decision about evil.example").click()
    expect(rules.get_by_role("listitem")).to_have_count(2)
    bob.get_by_label("When somebody new from outside wants to see me").select_option("block")
    bob.get_by_label("Address or whole domain").fill("not a domain")
    bob.keyboard.press("Enter")
    expect(bob.get_by_role("dialog").get_by_role("alert")).to_be_visible()
    bob.get_by_role("button", name="Done").click()
    bob.reload()
    bob.get_by_role("button", name="Privacy").click()
    expect(bob.get_by_label("When somebody new from outside wants to see me")).to_have_value("block")
    bob.get_by_role("button", name="Done").click()

    # The first thing the keyboard finds leads past the list; and then they go.
    bob.keyboard.press("Home")
    bob.get_by_role("button", name="Log out").click()
    expect(bob.get_by_role("heading", name="Log in")).to_be_visible()
    bob.reload()
    expect(bob.get_by_role("heading", name="Log in")).to_be_visible()
    assert all(cookie["name"] != "__Host-fedgate" for cookie in bob.context.cookies()), "the session is still there"


with sync_playwright() as playwright:
    chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
    expect.set_options(timeout=10_000)
    test(chromium)
    chromium.close()
if WRONG:
    sys.exit("\n".join(WRONG))
