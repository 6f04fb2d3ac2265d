"""The page of a certificate's reminders: seen and asked for without a script."""

from icalendar import Calendar

from tests.web.counter import World

PAGE = "/certificates/reminders"


async def test_a_customer_sees_what_will_be_sent_and_asks_for_something_else(world: World) -> None:
    browser = await world.signed_in("C10001")
    page = (await browser.get(f"{PAGE}?lang=en")).text
    assert "days before the last trading day" in page
    assert "by e-mail" in page
    assert "Pause until" in page
    until = page.split('<option value="2')[1].split('"')[0]
    answer = await browser.form(PAGE, channel="email", paused_until=f"2{until}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?saved=true")
    page = (await browser.get(answer.headers["location"])).text
    assert '<p class="cm-notice cm-notice--good" role="status">We have noted how you want to be reminded.</p>' in page
    assert f'<option value="2{until}" selected>' in page
    assert "Paused" in page
    assert "by text message</span>" not in page


async def test_a_wrong_answer_is_shown_beside_its_question_and_changes_nothing(world: World) -> None:
    browser = await world.signed_in("C10001")
    await browser.get(f"{PAGE}?lang=en")
    for given in ({"paused_until": "2099-01-01"}, {"paused_until": "soon"}, {"channel": "pigeon"}):
        answer = await browser.form(PAGE, **given)
        assert answer.status_code == 400
        assert "Please choose one of the" in answer.text
    assert await world.rows("SELECT * FROM reminder_preferences") == []


async def test_a_wrong_day_does_not_lose_the_channel_that_was_chosen_with_it(world: World) -> None:
    browser = await world.signed_in("C10001")
    await browser.get(f"{PAGE}?lang=en")
    answer = await browser.form(PAGE, channel="mobile", paused_until="2020-01-01")
    assert answer.status_code == 400
    assert 'name="channel" value="mobile" checked>' in answer.text
    assert 'name="channel" value="" checked>' not in answer.text


async def test_who_has_no_certificate_is_told_so(world: World) -> None:
    browser = await world.signed_in("C10003")
    assert "You have no valid certificate" in (await browser.get(f"{PAGE}?lang=en")).text


async def mails(world: World) -> list[dict[str, object]]:
    """What the demo's inbox shows."""
    shown: list[dict[str, object]] = (await world.browser().get("/demo/inbox", Accept="application/json")).json()
    return shown


async def test_the_demo_s_inbox_has_the_reminders_of_its_past_and_the_page_knows_of_them(world: World) -> None:
    subjects = [str(one["subject"]) for one in await mails(world)]
    assert sum("電子憑證即將到期" in subject for subject in subjects) > 10
    ours = next(one for one in await mails(world) if one["attachment"] is not None)
    assert str(ours["attachment"]) in (await world.browser().get("/demo/inbox")).text
    file = await world.browser().get(str(ours["attachment"]))
    assert (file.status_code, file.headers["content-type"]) == (200, "text/calendar; charset=utf-8")
    assert file.headers["content-disposition"] == 'attachment; filename="reminder.ics"'
    (event,) = Calendar.from_ical(file.content).walk("VEVENT")
    assert event.decoded("DTSTART").strftime("%Y/%m/%d") in f"{ours['subject']} {ours['text']}"
    for wrong in (str(ours["attachment"]).replace("reminder", "other"), "/demo/inbox/R1/reminder.ics"):
        assert (await world.browser().get(wrong)).status_code == 404
    browser = await world.signed_in("C10001")
    page = (await browser.get(f"{PAGE}?lang=en")).text
    assert "Sent</strong>" in page, "renewal opened ten days ago"
    assert "Planned</strong>" in page


async def test_the_overview_counts_down_in_trading_days(world: World) -> None:
    """From Monday 16 March 2026 to Sunday 5 April: five days, five, and four, because 3 April is a holiday."""
    browser = await world.signed_in("C10001")
    page = (await browser.get("/certificates?lang=zh-TW")).text
    assert "還有 14 個交易日" in page
    assert "4月2日" in page.split("最後交易日")[1][:80]
    assert "還有 14 個交易日" in (await browser.get("/home")).text
