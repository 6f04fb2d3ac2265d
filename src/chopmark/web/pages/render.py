"""Render the value of a page as HTML, with one Jinja environment per language, made at start."""

from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, ClassVar, Protocol, cast

from babel.support import Translations
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from chopmark.core.types import Text
from chopmark.web import i18n
from chopmark.web.i18n import Bilingual, Lang, Translator
from chopmark.web.pages import names
from chopmark.web.pages.views import Frame, milliseconds


class Page(Protocol):
    """A page value of `web.pages.views`."""

    TEMPLATE: ClassVar[str]

    @property
    def frame(self) -> Frame:
        """What surrounds the page. The page is rendered in the frame's language."""
        ...


def _unbroken(day: str) -> Markup:
    """Return a day in two calendars as two parts, each of which stays on one line."""
    first, bracket, rest = day.partition("（" if "（" in day else "(")
    if not bracket:
        return escape(day)
    space = " " if first.endswith(" ") else ""
    parts = Markup('<span class="cm-day">{}</span>{}<span class="cm-day">{}</span>')
    return parts.format(first.rstrip(), space, bracket + rest)


class Pages:
    """Renders every page of the portal; holds the compiled templates."""

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self._environments: Mapping[Lang, Environment] = {
            lang: self._environment(lang, catalogue) for lang, catalogue in translator.catalogues.items()
        }

    def render(self, page: Page) -> str:
        """Return the page as HTML in its frame's language; raises jinja2.UndefinedError on a missing value."""
        template = self._environments[page.frame.lang].get_template(page.TEMPLATE)
        return template.render(page=page, frame=page.frame, brand=page.frame.brand)

    def _environment(self, lang: Lang, catalogue: Translations) -> Environment:
        environment = Environment(
            loader=PackageLoader("chopmark.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=["jinja2.ext.i18n"],
        )
        cast("Any", environment).install_gettext_translations(catalogue, newstyle=True)

        @cache
        def pattern(message: str) -> Markup:
            return Markup(catalogue.gettext(message))  # noqa: S704 - the catalogue is ours

        @cache
        def constant(message: str) -> Markup:
            return pattern(message) % {}

        def gettext(message: str, /, **values: object) -> Markup:
            """Return the translation, always escaped. (The extension's own checks at each call whether to escape.)"""
            return pattern(message) % values if values else constant(message)

        def say(said: Text | str | Bilingual) -> str:
            return self.translator.translate(said, lang)

        def both(value: date | datetime) -> Markup:
            return _unbroken(i18n.both_dates(value, lang))

        def roc(value: date | datetime) -> str:
            return i18n.roc_date(value, lang)

        def western(value: date | datetime) -> str:
            return i18n.western_date(value, lang)

        def moment(value: datetime) -> Markup:
            return _unbroken(i18n.moment(value, lang))

        environment.filters.update(
            t=say, both=both, roc=roc, western=western, moment=moment, clock=i18n.clock_time, groups=names.in_fours
        )
        environment.filters.update(rare=names.has_rare_character)
        environment.globals.update(lang=lang, names=names, gettext=gettext, _=gettext, milliseconds=milliseconds)
        return environment
