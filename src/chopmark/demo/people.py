"""The demo's made-up customers: their lines of the sheet and their stories."""

from collections.abc import Mapping
from dataclasses import dataclass

from chopmark.core.types import Text, text
from chopmark.pki.algorithms import KeyKind


@dataclass(frozen=True, slots=True)
class Person:
    """A made-up customer: the sheet's columns and the story. `issued` are days ago on which certificates were made.

    `key` is the kind of their key, because other programs made some of them. `former_left` are the days that a
        certificate of the old CA still lasts; `revoked_there` says that the old CA has revoked it.
    """

    number: str
    person_id: str
    name: str
    birth: str
    mobile: str
    email: str
    accounts: str
    note: Text
    issued: tuple[float, ...] = ()
    revoked: float | None = None
    unproven: float | None = None
    wrong_birth_dates: int = 0
    new_mobile: str = ""
    replaced: bool = False
    key: KeyKind = KeyKind.P256
    former_left: float | None = None
    revoked_there: bool = False

    @property
    def file(self) -> str:
        """The name of the customer's files in the demo folder."""
        return self.number.lower()

    @property
    def account(self) -> str:
        """The first account, without its tag."""
        return self.accounts.split(";")[0].strip().partition(")")[2].strip()

    def row(self, mobile: str | None = None) -> Mapping[str, str]:
        """Return the customer's line of the sheet."""
        return {
            "customer": self.number,
            "person_id": self.person_id,
            "name": self.name,
            "birth_date": self.birth,
            "mobile": self.mobile if mobile is None else mobile,
            "email": self.email,
            "accounts": self.accounts,
            "verified_on": "2024-03-05",
        }


def _futures(number: int) -> str:
    return f"(期) F014000-{number:07d}"


def _securities(number: int) -> str:
    return f"(證) 9A95-{number:07d}"


PEOPLE: tuple[Person, ...] = (
    Person(
        "C10001",
        "A120034503",
        "王小明",
        "1960-07-15",
        "0912000678",
        "ming@example.com",
        _futures(1001),
        text("certificate ends in 20 days: renew it"),
        (345,),
    ),
    Person(
        "C10002",
        "F220034519",
        "林美玲",
        "1972-02-29",
        "0912000102",
        "ling@example.com",
        _futures(1002),
        text("certificate ends in 200 days: nothing to do"),
        (165,),
    ),
    Person(
        "C10003",
        "A131145615",
        "陳大文",
        "1958-12-31",
        "0912000103",
        "wen@example.com",
        _futures(1003),
        text("certificate expired yesterday: apply again"),
        (366,),
    ),
    Person(
        "C10004",
        "F231145621",
        "張淑芬",
        "1965-05-01",
        "0912000104",
        "fen@example.com",
        _futures(1004),
        text("certificate was revoked"),
        (120,),
        revoked=50,
    ),
    Person(
        "C10005",
        "A142256727",
        "李建國",
        "1949-10-10",
        "0912000105",
        "jian@example.com",
        _futures(1005),
        text("no certificate yet: apply for the first one"),
    ),
    Person(
        "C10006",
        "F242256733",
        "吳雅婷",
        "1980-08-08",
        "0912000106",
        "ya@example.com",
        f"{_futures(1006)};{_securities(2006)}",
        text("two accounts, futures and securities; ends in 10 days"),
        (355,),
    ),
    Person(
        "C10007",
        "A153367839",
        "劉志強",
        "1975-03-20",
        "0912000107",
        "chih@example.com",
        _futures(1007),
        text("mobile changed yesterday: only e-mail can be used"),
        (350,),
        new_mobile="0912000777",
    ),
    Person(
        "C10008",
        "F253367845",
        "蔡惠君",
        "1968-11-11",
        "0912000108",
        "",
        _futures(1008),
        text("no e-mail registered; ends in 25 days"),
        (340,),
    ),
    Person(
        "C10009",
        "A800123450",
        "Nguyen Van An",
        "1985-01-05",
        "0912000109",
        "an@example.com",
        _futures(1009),
        text("resident certificate holder; ends in 12 days"),
        (353,),
        key=KeyKind.RSA2048,
    ),
    Person(
        "C10010",
        "H121134518",
        "黃阿公",
        "1910-06-04",
        "0912000110",
        "gong@example.com",
        _futures(1010),
        text("born before the Republic; ends in 15 days"),
        (350,),
        key=KeyKind.P384,
    ),
    Person(
        "C10011",
        "24680132",
        "好運實業股份有限公司",
        "",
        "0912000111",
        "office@example.com",
        _securities(2011),
        text("a company: no birth date is asked; ends in 8 days"),
        (357,),
    ),
    Person(
        "C10012",
        "F264478957",
        "許秀英",
        "1955-09-09",
        "0912000112",
        "ying@example.com",
        _futures(1012),
        text("on hold after three wrong birth dates"),
        wrong_birth_dates=4,
    ),
    Person(
        "C10013",
        "A164478941",
        "鄭文雄",
        "1962-04-30",
        "0912000113",
        "hsiung@example.com",
        _securities(2013),
        text("issued yesterday, not yet installed"),
        unproven=1,
    ),
    Person(
        "C10014",
        "B221134523",
        "謝佩珊",
        "1990-02-14",
        "0912000114",
        "shan@example.com",
        _futures(1014),
        text("replaced the certificate 100 days ago: see the history"),
        (330, 100),
        replaced=True,
    ),
    Person(
        "C10015",
        "H132245620",
        "周明輝",
        "1978-07-07",
        "",
        "hui@example.com",
        _futures(1015),
        text("no mobile registered: the code comes by e-mail; ends in 18 days"),
        (347,),
    ),
    Person(
        "C10016",
        "B232245635",
        "徐玉蘭",
        "1952-01-01",
        "0912000116",
        "lan@example.com",
        _futures(1016),
        text("certificate expired 30 days ago"),
        (395,),
    ),
    Person(
        "C10017",
        "AC01234567",
        "Maria Santos",
        "1983-12-25",
        "0912000117",
        "maria@example.com",
        _futures(1017),
        text("holder of an old resident certificate number; none yet"),
    ),
    Person(
        "C10018",
        "H143356732",
        "蘇俊傑",
        "2004-05-20",
        "0912000118",
        "chun@example.com",
        f"(複) 9A95-0003018;{_futures(1018)}",
        text("sub-brokerage account first; ends in 5 days"),
        (360,),
    ),
    Person(
        "C10019",
        "F900543217",
        "Tanaka Yuki",
        "1995-06-30",
        "0912000119",
        "yuki@example.com",
        _futures(1019),
        text("certificate ends today or tomorrow"),
        (364.2,),
    ),
    Person(
        "C10020",
        "97531861",
        "順風投資有限公司",
        "",
        "0912000120",
        "wind@example.com",
        _futures(1020),
        text("a company without a certificate"),
    ),
    Person(
        "C10021",
        "N125789031",
        "高志明",
        "1970-03-03",
        "0912000121",
        "kao@example.com",
        _futures(1021),
        text("has a certificate of the CA before, ends in 12 days: renew with it"),
        former_left=12,
    ),
    Person(
        "C10022",
        "P225789043",
        "方美華",
        "1988-10-25",
        "0912000122",
        "fang@example.com",
        _futures(1022),
        text("has a certificate of the CA before, ends in 200 days: nothing to do"),
        former_left=200,
    ),
    Person(
        "C10023",
        "Q125789051",
        "涂家豪",
        "1993-06-18",
        "0912000123",
        "tu@example.com",
        _futures(1023),
        text("the CA before has revoked the certificate: apply again"),
        former_left=15,
        revoked_there=True,
    ),
)
