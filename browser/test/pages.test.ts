// @vitest-environment happy-dom
// @vitest-environment-options { "url": "https://portal.example/" }
import "fake-indexeddb/auto";
import { describe, expect, test, vi } from "vitest";
import { attachBirthDate, echoOf } from "../src/pages/birth-date.ts";
import { attachCancel, attachChannel, attachDispute } from "../src/pages/channel.ts";
import { attachCode, attachResend } from "../src/pages/code.ts";
import { attachComforts } from "../src/pages/comforts.ts";
import { attachLaunch } from "../src/pages/launch.ts";
import { attachReview } from "../src/pages/review.ts";
import { attachSlip } from "../src/pages/slip.ts";
import { attachStart } from "../src/pages/start.ts";
import { watch } from "../src/pages/wait.ts";
import { loadWords, t } from "../src/words.ts";
import { field, form, get, json, no, opened, order, stepForm, submit, summary, type } from "./support/page.ts";

const until = (true_: () => void) => vi.waitFor(true_, { timeout: 5000, interval: 5 });

const CODE = stepForm("code", field("code", '<input id="code" name="code" data-digits="6">'));

const SLIP = stepForm("slip", field("slip", '<input id="slip" name="slip">'));

describe("the approval slip", () => {
  test("is sent as it was typed, and an empty field is not sent at all", async () => {
    const { page, posts, went } = opened(SLIP, () => json(200, order({ next: "review" })));
    attachSlip(page, form("slip"));
    submit("slip");
    await until(() => expect(summary()).toContain("Please type the letters of your slip."));
    expect(posts()).toEqual([]);
    type("#slip", "bcdfg hjklm nprst wbcdf");
    submit("slip");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(posts().map((each) => [each.path, each.body])).toEqual([
      ["/orders/o-1/slip", { slip: "bcdfg hjklm nprst wbcdf" }],
    ]);
  });
});

describe("any step", () => {
  const channel = stepForm(
    "channel",
    field("channel", '<input type="radio" id="channel-mobile" name="channel" value="mobile" checked>'),
  );

  test("is sent once, however often the button is pressed, and stays busy while the next page comes", async () => {
    const { page, posts, went } = opened(channel, () => json(201, order({ next: "code" })));
    attachChannel(page, form("channel"));
    submit("channel");
    submit("channel");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    submit("channel");
    expect(posts().map((each) => [each.path, each.body])).toEqual([["/orders/o-1/challenges", { channel: "mobile" }]]);
    expect(get<HTMLButtonElement>("button[data-submit]")).toMatchObject({
      disabled: true,
      textContent: "Please wait…",
    });
  });

  test("that got no answer says so and is sent again under the same key", async () => {
    let lost = true;
    const { page, posts, went } = opened(channel, ({ method }) =>
      method === "POST" && lost ? null : json(201, order()),
    );
    attachChannel(page, form("channel"));
    submit("channel");
    await until(() => expect(summary()).toContain("No answer has come from us."));
    expect(document.activeElement).toBe(get("[data-error-summary]"));
    expect(document.title).toBe("Error: A page");
    lost = false;
    get<HTMLButtonElement>("[data-error-list] button").click();
    await until(() => expect(went).toHaveLength(1));
    expect(posts().map((each) => each.key)).toEqual(["key-1", "key-1"]);
    expect(document.title).toBe("A page");
  });

  test("shows the way to sign in again when the session ended", async () => {
    const { page } = opened(channel, ({ method }) =>
      method === "POST" ? no(401, "unauthenticated", "Please sign in.") : json(200, order()),
    );
    attachChannel(page, form("channel"));
    submit("channel");
    await until(() => expect(summary()).toContain("Please sign in. What you have done is kept."));
    expect(get<HTMLAnchorElement>("[data-error-list] a").getAttribute("href")).toMatch(/^\/sign-in\?next=/);
    expect(get<HTMLButtonElement>("button[data-submit]").disabled).toBe(false);
  });

  test("leads to the present step when another tab has gone on", async () => {
    history.replaceState(null, "", "https://portal.example/orders/o-1?step=apply");
    const { page } = opened(channel, ({ method }) =>
      method === "POST" ? no(409, "conflict", "It has gone on.") : json(200, order()),
    );
    attachChannel(page, form("channel"));
    submit("channel");
    await until(() => expect(summary()).toContain("It has gone on."));
    expect(get<HTMLAnchorElement>("[data-error-list] a").getAttribute("href")).toBe("/orders/o-1");
  });

  test("warns when the key of the request is not in this browser", async () => {
    const { page } = opened(channel, () => json(200, order({ spki_sha256: "ab".repeat(32), next: "channel" })));
    attachChannel(page, form("channel"));
    await until(() => expect(get("[data-key-notice]").textContent).toContain("is not in this browser"));
    expect(get<HTMLAnchorElement>("[data-key-notice] a").getAttribute("href")).toBe("/orders/o-1?step=key");
  });
});

describe("the start", () => {
  const start = `<form data-step="start"><input type="hidden" name="operation" value="rekey"><input type="hidden" name="account" value="F1">
    ${field("key_home", '<input type="radio" id="key_home" name="key_home" value="browser" checked>')}
    ${field("reason", '<input type="radio" id="reason" name="reason" value="lost">')}<p data-unsupported hidden></p><button data-submit></button></form>`;

  test("opens an order and goes to it", async () => {
    vi.stubGlobal("isSecureContext", true);
    const { page, posts, went } = opened(start, () => json(201, order()));
    attachStart(page, form("start"));
    submit("start");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(posts()[0]).toMatchObject({
      method: "POST",
      path: "/orders",
      body: { operation: "rekey", account: "F1", key_home: "browser" },
    });
    vi.unstubAllGlobals();
  });

  test.each([
    ["Go on with the open request", [undefined], "/orders/o-9"],
    ["End it and begin this one", [undefined, "o-9"], "/orders/o-1"],
  ])("of a second order asks which one, and %s", async (choice, insteads, address) => {
    vi.stubGlobal("isSecureContext", true);
    const open = no(409, "conflict", "A request is open.", { code: "open:o-9" });
    const { page, posts, went } = opened(start, ({ body }) =>
      (body as Record<string, string>)["instead"] === "o-9" ? json(201, order()) : open,
    );
    attachStart(page, form("start"));
    submit("start");
    await until(() => expect(get("dialog").textContent).toContain("You have another request open."));
    [...document.querySelectorAll<HTMLButtonElement>("dialog button")]
      .find((each) => each.textContent === choice)
      ?.click();
    await until(() => expect(went).toEqual([address]));
    expect(posts().map((each) => (each.body as Record<string, string>)["instead"])).toEqual(insteads);
    vi.unstubAllGlobals();
  });

  const places = stepForm(
    "start",
    `<input type="hidden" name="operation" value="enrol"><input type="hidden" name="account" value="F1">
    <input type="radio" name="key_home" value="browser" checked><p data-forgets hidden></p><p data-keeps-no-keys hidden></p>
    <input type="radio" name="key_home" value="file"><p data-unsupported hidden></p>`,
  );

  test("recommends the file where the browser may clear the certificate by itself", async () => {
    vi.stubGlobal("isSecureContext", true);
    const { page } = opened(places, () => json(201, order()));
    attachStart(page, form("start"));
    await until(() => expect(get("[data-forgets]").hasAttribute("hidden")).toBe(false));
    expect(get<HTMLInputElement>("[value=browser]").disabled).toBe(false);
    vi.unstubAllGlobals();
  });

  test("goes on with the file where the browser keeps data and no keys", async () => {
    vi.stubGlobal("isSecureContext", true);
    const keyless = new Proxy(indexedDB, { get: (factory, name) => Reflect.get(factory, name, factory) });
    vi.stubGlobal("CryptoKey", class {}); // what comes back out of the store is no key
    vi.stubGlobal("indexedDB", keyless);
    const { page, posts } = opened(places, () => json(201, order()));
    attachStart(page, form("start"));
    await until(() => expect(get("[data-keeps-no-keys]").hasAttribute("hidden")).toBe(false));
    expect(get<HTMLInputElement>("[value=browser]").disabled).toBe(true);
    submit("start");
    await until(() => expect(posts()[0]?.body).toMatchObject({ key_home: "file" }));
    vi.unstubAllGlobals();
  });

  test("stops in a browser that cannot make keys safely", async () => {
    vi.stubGlobal("isSecureContext", false);
    const { page, posts } = opened(start, () => json(201, order()));
    attachStart(page, form("start"));
    submit("start");
    await until(() => expect(summary()).toContain("cannot make a certificate safely"));
    expect(get("[data-unsupported]").hasAttribute("hidden")).toBe(false);
    expect(posts()).toEqual([]);
    vi.unstubAllGlobals();
  });
});

describe("the code", () => {
  const page = `<div data-countdown-box><span data-countdown data-remaining="120">120</span><progress data-countdown-bar></progress></div>
    <p data-countdown-over hidden></p>${CODE}${stepForm("resend", '<input type="hidden" name="channel" value="email">')}`;

  test.each(["", "12345", "1234567", "12a456"])("%j is refused in the page", async (code) => {
    const { page: made, posts } = opened(CODE, () => json(200, order()));
    attachCode(made, form("code"));
    type("#code", code);
    submit("code");
    await until(() => expect(summary()).not.toBe(""));
    expect(posts()).toEqual([]);
    expect(get("#code").getAttribute("aria-invalid")).toBe("true");
    expect(get<HTMLInputElement>("#code").value).toBe(code);
  });

  test.each(["012345", "０１２３４５", " 012 345 ", "012-345", "驗證碼 012345，5分鐘內有效", "ㄢㄅㄉˇˋㄓ"])(
    "%j goes to the server as the code that it means",
    async (code) => {
      const { page: made, posts, went } = opened(CODE, () => json(200, order()));
      attachCode(made, form("code"));
      type("#code", code);
      submit("code");
      await until(() => expect(went).toHaveLength(1));
      expect(posts()[0]?.body).toEqual({ code: "012345" });
      expect(get<HTMLInputElement>("#code").value).toBe("012345");
    },
  );

  test.each([
    ["ㄇㄋㄎ", "set to Zhuyin"],
    ["111111 222222", "more than one number"],
  ])("%j is explained", async (code, words) => {
    const { page: made, posts } = opened(CODE, () => json(200, order()));
    attachCode(made, form("code"));
    type("#code", code);
    submit("code");
    await until(() => expect(get("#code-error").textContent).toContain(words));
    expect(posts()).toEqual([]);
  });

  test("that a keyboard is still composing is left alone until it is composed", () => {
    const { page: made } = opened(CODE, () => json(200, order()));
    attachCode(made, form("code"));
    const input = get<HTMLInputElement>("#code");
    input.value = "˙˙ˇㄉㄞㄉ";
    input.dispatchEvent(new InputEvent("input", { isComposing: true }));
    expect(input.value).toBe("˙˙ˇㄉㄞㄉ");
    input.dispatchEvent(new Event("compositionend"));
    expect(input.value).toBe("773292");
  });

  test("that is wrong is said at the field, and nothing typed is lost", async () => {
    const { page: made } = opened(CODE, ({ method }) =>
      method === "POST"
        ? no(422, "wrong_code", "The code is not right. 4 tries are left.", { field: "code" })
        : json(200, order()),
    );
    attachCode(made, form("code"));
    type("#code", "000000");
    submit("code");
    await until(() => expect(get("#code-error").textContent).toContain("4 tries are left"));
    expect(get("#code-error").hasAttribute("hidden")).toBe(false);
    expect(get<HTMLInputElement>("#code").value).toBe("000000");
    get<HTMLAnchorElement>("[data-error-list] a").click();
    expect(document.activeElement).toBe(get("#code"));
  });

  test("that is dead ends the countdown and leads to a new one", async () => {
    const { page: made } = opened(page, ({ method }) =>
      method === "POST" ? no(410, "code_dead", "This code has run out.", { field: "code" }) : json(200, order()),
    );
    attachCode(made, form("code"));
    attachResend(made, form("resend"));
    type("#code", "000000");
    submit("code");
    await until(() => expect(summary()).toContain("Send a new code"));
    expect(get("[data-countdown-box]").hasAttribute("hidden")).toBe(true);
    [...document.querySelectorAll<HTMLAnchorElement>("[data-error-list] a")].at(-1)?.click();
    expect(document.activeElement).toBe(get('form[data-step="resend"] button'));
  });

  test("is counted down from the server's figure, and a used-up one says so", async () => {
    const { page: made } = opened(page.replace('"120"', '"0"'), () => json(200, order()));
    attachCode(made, form("code"));
    expect(get("[data-countdown-over]").hasAttribute("hidden")).toBe(false);
    expect(get("[data-live]").textContent).toBe("The verification code has run out.");
  });

  test("can be sent again only after the pause", async () => {
    const inside =
      '<input type="hidden" name="channel" value="email"><p data-resend-wait><span data-resend-seconds></span></p>';
    const { page: made } = opened(stepForm("resend", inside), () => json(201, order()));
    get("form button").setAttribute("data-resend-in", "45");
    attachResend(made, form("resend"));
    expect(get<HTMLButtonElement>("form button").disabled).toBe(true);
    expect(get("[data-resend-seconds]").textContent).toBe("45");
  });

  test.each([
    ["channel", attachChannel, '<input type="radio" name="channel" value="mobile" checked>'],
    ["resend", attachResend, '<input type="hidden" name="channel" value="mobile">'],
  ] as const)(
    "that is asked for too soon at %s: the page says so, and the button waits",
    async (step, attach, inside) => {
      const wait = "<p data-resend-wait hidden><span data-resend-seconds></span></p>";
      const soon = no(429, "too_many", "Please wait 41 more seconds.", { code: "resend_too_soon", retry_after_s: 41 });
      const { page: made } = opened(stepForm(step, inside + wait), () => soon.clone());
      attach(made, form(step));
      expect(get<HTMLButtonElement>("form button").disabled).toBe(false);
      submit(step);
      await until(() => expect(summary()).toContain("Please wait 41 more seconds."));
      expect(get<HTMLButtonElement>("form button").disabled).toBe(true);
      expect(get("[data-resend-wait]").hasAttribute("hidden")).toBe(false);
      expect(get("[data-resend-seconds]").textContent).toBe("41");
    },
  );

  test("that could not be delivered is said while the page is open, with the other way", async () => {
    const notice = '<p data-undelivered hidden><a href="/orders/o-1?step=channel">Receive it in another way</a></p>';
    let undelivered = false;
    const made = opened(notice + CODE, () => json(200, { ...order(), challenge: { undelivered } }));
    attachCode(made.page, form("code"));
    await until(() => expect(made.sent).toHaveLength(1)); // the key that is missing is looked for
    made.tick();
    await until(() => expect(made.sent).toHaveLength(2));
    expect(get("[data-undelivered]").hasAttribute("hidden")).toBe(true);
    undelivered = true;
    await until(() => {
      made.tick();
      expect(get("[data-undelivered]").hasAttribute("hidden")).toBe(false);
    });
    expect(made.posts()).toEqual([]);
  });

  test("is found in a pasted message", async () => {
    const { page: made } = opened(CODE, () => json(200, order()));
    attachCode(made, form("code"));
    const event = new Event("paste", { bubbles: true, cancelable: true });
    Object.assign(event, {
      clipboardData: { getData: () => "您的驗證碼 ０１２３４５ ，5 分鐘內有效，電話 0800123456" },
    });
    get("#code").dispatchEvent(event);
    expect(get<HTMLInputElement>("#code").value).toBe("012345");
    expect(event.defaultPrevented).toBe(true);
  });
});

describe("the birth date", () => {
  // Year 51 of the Republic is 1962; the year before its first is 1911.
  test.each([
    [{ era: "roc", year: "51", month: "3", day: "8" }, "In the western calendar: 8 March 1962"],
    [{ era: "roc", year: "０５１", month: "03", day: "０８" }, "In the western calendar: 8 March 1962"],
    [{ era: "roc", year: "٥١", month: "๓", day: "۰۸" }, "In the western calendar: 8 March 1962"],
    [{ era: "before_roc", year: "1", month: "12", day: "31" }, "In the western calendar: 31 December 1911"],
    [{ era: "roc", year: "51", month: "2", day: "30" }, ""],
    [{ era: "roc", year: "51", month: "", day: "" }, ""],
    [
      { era: "roc", year: "1962", month: "3", day: "8" },
      "This is a western year. Please enter the ROC year: the western year less 1911.",
    ],
  ])("%j is echoed as %j", (typed, echo) => {
    expect(echoOf(typed, "en")).toBe(echo);
  });

  const date = stepForm(
    "birth_date",
    `${field(
      "birth_date",
      `<select id="era" name="era"><option value="roc">ROC</option></select>${["year", "month", "day"]
        .map((name) => field(name, `<input id="${name}" name="${name}">`))
        .join("")}`,
    )}<p data-western></p><button type="reset" data-clear></button>`,
  );

  test("each empty part is named, and each goes to its own input", async () => {
    const { page, posts } = opened(date, () => json(200, order()));
    attachBirthDate(page, form("birth_date"));
    type("#year", "51");
    submit("birth_date");
    await until(() => expect(get("#month-error").textContent).toContain("month"));
    expect(get("#year-error").hasAttribute("hidden")).toBe(true);
    expect(get("#year").hasAttribute("aria-invalid")).toBe(false);
    expect(posts()).toEqual([]);
  });

  test("the server's no goes to the part it names", async () => {
    const { page, posts } = opened(date, ({ method }) =>
      method === "POST" ? no(400, "malformed", "There is no month 13.", { field: "month" }) : json(200, order()),
    );
    attachBirthDate(page, form("birth_date"));
    for (const [name, value] of [
      ["year", "51"],
      ["month", "13"],
      ["day", "8"],
    ] as const)
      type(`#${name}`, value);
    submit("birth_date");
    await until(() => expect(get("#month-error").textContent).toContain("There is no month 13."));
    expect(posts()[0]).toMatchObject({
      path: "/orders/o-1/birth-date",
      body: { era: "roc", year: "51", month: "13", day: "8" },
    });
  });

  test("清除 clears the echo too and goes back to the year", async () => {
    const { page } = opened(date, () => json(200, order()));
    attachBirthDate(page, form("birth_date"));
    for (const [name, value] of [
      ["year", "51"],
      ["month", "3"],
      ["day", "8"],
    ] as const)
      type(`#${name}`, value);
    expect(get("[data-western]").textContent).toContain("1962");
    form("birth_date").reset();
    await until(() => expect(get("[data-western]").textContent).toBe(""));
    expect(document.activeElement).toBe(get("#year"));
  });
});

describe("the review", () => {
  const review =
    stepForm(
      "review",
      `<input type="hidden" name="consent_sha256" value="c0ffee">${field("consent", '<input type="checkbox" id="consent" name="consent">')}`,
    ) +
    "<dialog data-confirm-dialog><button data-dialog-confirm></button><button data-dialog-cancel></button></dialog>";

  test("needs the consent before it asks", async () => {
    const { page } = opened(review, () => json(200, order()));
    attachReview(page, form("review"));
    submit("review");
    await until(() => expect(get("#consent-error").hasAttribute("hidden")).toBe(false));
    expect(get<HTMLDialogElement>("dialog").open).toBe(false);
  });

  test("is confirmed once, with what was shown", async () => {
    const { page, posts, went } = opened(review, ({ method }) =>
      json(method === "POST" ? 202 : 200, order({ next: "wait" })),
    );
    attachReview(page, form("review"));
    get<HTMLInputElement>("#consent").checked = true;
    submit("review");
    await until(() => expect(get<HTMLDialogElement>("dialog").open).toBe(true));
    get<HTMLButtonElement>("[data-dialog-confirm]").click();
    get<HTMLButtonElement>("[data-dialog-confirm]").click();
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(posts().map((each) => [each.path, each.body])).toEqual([["/orders/o-1/confirm", { consent: "c0ffee" }]]);
  });

  test("that fails closes the question and says why", async () => {
    const { page } = opened(review, ({ method }) =>
      method === "POST" ? no(503, "unavailable", "Please try again later.") : json(200, order()),
    );
    attachReview(page, form("review"));
    get<HTMLInputElement>("#consent").checked = true;
    submit("review");
    await until(() => expect(get<HTMLDialogElement>("dialog").open).toBe(true));
    get<HTMLButtonElement>("[data-dialog-confirm]").click();
    await until(() => expect(summary()).toContain("Please try again later."));
    expect(get<HTMLDialogElement>("dialog").open).toBe(false);
  });
});

describe("leaving", () => {
  const dispute = stepForm("dispute", '<input type="hidden" name="dispute_channel" value="mobile">');

  test.each([
    ["yes", ["/orders/o-1/dispute"]],
    ["no", []],
  ] as const)("a wrong number is asked about first: %s", async (answer, paths) => {
    const { page, posts, went } = opened(dispute, () => json(200, order({ state: "held", next: "ended" })));
    attachDispute(page, form("dispute"));
    submit("dispute");
    await until(() => expect(get<HTMLDialogElement>("dialog").open).toBe(true));
    get<HTMLDialogElement>("dialog").close(answer);
    await until(() => expect(form("dispute").hasAttribute("data-busy")).toBe(answer === "yes"));
    await until(() => expect(went).toHaveLength(paths.length));
    expect(posts().map((each) => each.path)).toEqual(paths);
  });

  test("an order is cancelled", async () => {
    const { page, posts, went } = opened(stepForm("cancel", ""), () =>
      json(200, order({ state: "cancelled", next: "ended" })),
    );
    attachCancel(page, form("cancel"));
    submit("cancel");
    await until(() => expect(went).toEqual(["/orders/o-1"]));
    expect(posts()[0]?.path).toBe("/orders/o-1/cancel");
  });
});

describe("other pages", () => {
  test("waiting asks again until there is a next step, over a lost answer", async () => {
    const answers = [null, json(200, order({ next: "wait" })), json(200, order({ next: "install" }))];
    const { page, went, tick, sent } = opened("", () => answers.shift() ?? null);
    const watching = watch(page, "o-1", 2);
    for (const asked of [1, 2, 3]) {
      tick();
      await until(() => expect(sent).toHaveLength(asked));
      await new Promise((then) => setTimeout(then, 0));
    }
    await watching;
    expect(went).toEqual(["/orders/o-1"]);
  });

  test("the ticket is taken out of the address before it is posted", () => {
    opened(
      '<form data-launch><input type="hidden" name="ticket"></form><p data-launch-missing hidden></p>',
      () => null,
    );
    const target = get<HTMLFormElement>("form");
    const submitted = vi.fn(() => get<HTMLInputElement>("input").value);
    target.submit = submitted;
    const replaced: string[] = [];
    const here = { hash: "#t=secret-ticket", pathname: "/launch" } as Location;
    attachLaunch(target, here, {
      replaceState: (_state, _title, address) => void replaced.push(String(address)),
    } as History);
    expect(replaced).toEqual(["/launch"]);
    expect(submitted).toHaveReturnedWith("secret-ticket");
  });

  test("no ticket: what happened", () => {
    opened(
      '<form data-launch><input type="hidden" name="ticket"></form><p data-launch-missing hidden></p>',
      () => null,
    );
    attachLaunch(get<HTMLFormElement>("form"), { hash: "", pathname: "/launch" } as Location, history);
    expect(get("[data-launch-missing]").hasAttribute("hidden")).toBe(false);
  });
});

describe("the words", () => {
  test("come from the catalogue of the page's language, with their values", async () => {
    await loadWords("zh-Hant-TW", () =>
      Promise.resolve(json(200, { "The code has %(digits)s digits.": "驗證碼有 %(digits)s 位數。" })),
    );
    expect(t("The code has %(digits)s digits.", { digits: 6 })).toBe("驗證碼有 6 位數。");
    expect(t("Not in it.")).toBe("Not in it.");
    await loadWords("en", () => Promise.reject(new Error("an English page asks for none")));
    expect(t("The code has %(digits)s digits.", { digits: 6 })).toBe("The code has 6 digits.");
  });

  test("stay English when the catalogue does not come", async () => {
    await loadWords("zh-Hant-TW", () => Promise.reject(new TypeError("Failed to fetch")));
    expect(t("Try again")).toBe("Try again");
  });
});

describe("a form that the browser itself sends", () => {
  test("is sent once by a double click, and again by a later press", () => {
    document.body.innerHTML = '<form method="post" action="/launch/confirm"><button>Yes</button></form>';
    attachComforts();
    const press = (at: number): boolean => {
      const event = new Event("submit", { cancelable: true });
      Object.defineProperty(event, "timeStamp", { value: at });
      return get<HTMLFormElement>("form").dispatchEvent(event);
    };
    expect([press(100), press(300), press(1_099), press(1_100)]).toEqual([true, false, false, true]);
  });
});

describe("a page that is the answer to a form", () => {
  test("stands at the address where it can be loaded again, and nothing is sent once more", () => {
    document.body.innerHTML = '<p data-shown-once="/orders/8f3b">shown once</p>';
    history.replaceState(null, "", "/orders/8f3b/credential");
    attachComforts();
    expect(location.pathname).toBe("/orders/8f3b");
  });
});

describe("a menu that lies over the page", () => {
  const MENU =
    '<details data-menu open><summary>System</summary><button>Certificates</button></details><a href="/x">else</a>';

  test.each([
    [
      "Escape",
      () => get("details button").dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true })),
    ],
    ["a press elsewhere", () => get("a").dispatchEvent(new MouseEvent("click", { bubbles: true }))],
    ["a step elsewhere", () => get("a").dispatchEvent(new FocusEvent("focusin", { bubbles: true }))],
  ])("closes at %s, and not at a press inside", (_, leave) => {
    opened(MENU, () => null);
    attachComforts();
    get("details button").dispatchEvent(new MouseEvent("click", { bubbles: true }));
    expect(get<HTMLDetailsElement>("details").open).toBe(true);
    leave();
    expect(get<HTMLDetailsElement>("details").open).toBe(false);
  });
});

describe("showing what is typed", () => {
  test("unveils a pass-phrase that is no password field, and veils it again", () => {
    document.body.innerHTML =
      '<input id="p" class="cm-veiled" type="text"><button type="button" data-reveal="p" data-reveals="veiled" aria-pressed="false"></button>';
    attachComforts();
    const seen = (): readonly unknown[] => [
      get("#p").classList.contains("cm-veiled"),
      get<HTMLInputElement>("#p").type,
      get("button").getAttribute("aria-pressed"),
    ];
    get("button").click();
    expect(seen()).toEqual([false, "text", "true"]);
    get("button").click();
    expect(seen()).toEqual([true, "text", "false"]);
  });
});
