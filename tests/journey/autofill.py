"""Firefox's password manager: a login that is saved, what of it comes into a page's fields, and what it would save."""

from tests.journey.engines import Engine, in_chrome

SAVE = """
// Marionette switches the manager off; here it is as a person has it.
for (const name of ["signon.autofillForms", "signon.rememberSignons"]) Services.prefs.setBoolPref(name, true);
const [origin, user, password] = arguments;
const login = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
login.init(origin, origin, null, user, password, "", "");
const { logins } = Services;
return logins.addLoginAsync(login).then(() => logins.searchLoginsAsync({origin})).then((all) => all.length);
"""
LISTEN = """
window.offers = [];
window.hears = {observe: (login) => window.offers.push(login.QueryInterface(Ci.nsILoginInfo).password)};
for (const what of ["save", "change"]) Services.obs.addObserver(window.hears, `passwordmgr-prompt-${what}`);
"""
CONTROL = """
const form = document.createElement("form");
for (const [type, meaning] of [["text", "username"], ["password", "current-password"]]) {
  const input = document.createElement("input");
  [input.type, input.autocomplete, input.id] = [type, meaning, `control-${type}`];
  form.append(input);
}
const button = document.createElement("button");
button.id = "control-send";
button.textContent = "send";
form.append(button);
form.addEventListener("submit", (event) => event.preventDefault());
document.querySelector("main").prepend(form);
"""
VALUE = "return document.querySelector(arguments[0]).value"
FILLED = "return document.querySelector('#control-password').value === arguments[0]"


def save_login(engine: Engine, origin: str, user: str, password: str) -> None:
    """Let the browser know a login, as after "Save password?"; and note what it offers to save from now on."""
    assert in_chrome(engine, SAVE, origin, user, password) == 1
    in_chrome(engine, LISTEN)


def filled_control(engine: Engine, password: str) -> None:
    """Add a sign-in form to the page and wait until the browser has filled it.

    It comes after the page's own fields: what is empty then is not going to be filled.
    """
    engine.script(CONTROL)
    engine.until("a sign-in form is filled", FILLED, password)


def offered_until_control(engine: Engine, password: str) -> set[str]:
    """Return the passwords that the browser has offered to save since `save_login`, a control form's at the end.

    The control is sent last, and the browser takes one after the other: an offer that is not there does not come later.
    """
    engine.script(CONTROL)
    engine.type("#control-password", password)
    engine.click("#control-send")
    offered: set[str] = set()
    for _ in range(2_000):
        if password in (offered := set(in_chrome(engine, "return window.offers"))):
            return offered
    raise AssertionError(f"the control was not offered: {offered}")
