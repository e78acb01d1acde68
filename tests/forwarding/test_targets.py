"""Which addresses may be written to: what a hostile merchant could try, and what an honest one needs."""

import socket
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gatehouse.errors import TargetRefused
from gatehouse.forwarding.targets import Target, check_url, resolve, system_lookup

pytestmark = pytest.mark.req("R2")

UNSPECIFIED = "0.0.0.0"  # noqa: S104 - nothing is bound to it
WIDE_127 = "\uff11\uff12\uff17"  # in the digits of East Asian fonts
PUBLIC = ["93.184.216.34", "8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.0.1", "2606:4700::1111"]
NOT_PUBLIC = [
    *("127.0.0.1", "127.255.255.254", UNSPECIFIED, "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
    *(
        "169.254.169.254",
        "169.254.170.2",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "192.0.0.192",
        "192.168.1.1",
    ),
    *("192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1", "168.63.129.16"),
    *("192.0.0.192", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8"),
    *("64:ff9b::8.8.8.8", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:808:808::1", "2002:7f00:1::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:20::1", "2001:2::1", "2001:db8::1", "3fff::1"),
    *("fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "5f00::1", "4000::1"),
]


def refusal(url: str, allowed: Sequence[str] = ()) -> str:
    with pytest.raises(TargetRefused) as raised:
        check_url(url, allowed)
    assert raised.value.retry_helps is False
    return str(raised.value)


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("https://hooks.example.com", Target("hooks.example.com", 443, "/", True, False)),
            ("https://hooks.example.com/", Target("hooks.example.com", 443, "/", True, False)),
            ("HTTPS://Hooks.Example.COM:443/A/b", Target("hooks.example.com", 443, "/A/b", True, False)),
            ("https://hooks.example.com:8443?a=1&b=%2F", Target("hooks.example.com", 8443, "/?a=1&b=%2F", True, False)),
            ("https://8.8.8.8/x", Target("8.8.8.8", 443, "/x", True, False)),
            ("https://[2606:4700:0::1111]/", Target("2606:4700::1111", 443, "/", True, False)),
            ("https://bücher.example.com/", Target("xn--bcher-kva.example.com", 443, "/", True, False)),
            ("https://faß.example.com/", Target("xn--fa-hia.example.com", 443, "/", True, False)),
            ("https://例え。jp/", Target("xn--r8jz45g.jp", 443, "/", True, False)),
            ("https://xn--bcher-kva.example.com/", Target("xn--bcher-kva.example.com", 443, "/", True, False)),
        ],
    )
    def test_that_are_right(self, url: str, target: Target) -> None:
        assert check_url(url) == target

    @pytest.mark.parametrize(
        ("url", "complaint"),
        [
            ("http://hooks.example.com/", "does not begin with https://"),
            ("ftp://hooks.example.com/", "does not begin with https://"),
            ("gopher://hooks.example.com:443/", "does not begin with https://"),
            ("file:///etc/passwd", "does not begin with https://"),
            ("hooks.example.com/", "no URL"),
            ("//hooks.example.com/", "no URL"),
            ("https:/hooks.example.com", "no URL"),
            ("https://", "no host"),
            ("https:///path", "no host"),
            ("", "no URL"),
            (" https://hooks.example.com/", "no URL"),
            ("https://hooks.example.com/" + "a" * 2048, "more than 2048 characters"),
        ],
    )
    def test_of_another_form(self, url: str, complaint: str) -> None:
        assert complaint in refusal(url)

    @pytest.mark.parametrize(
        "url",
        ["https://user:pass@hooks.example.com/", "https://user@hooks.example.com/", "https://8.8.8.8\\@127.0.0.1/"],
    )
    def test_with_credentials(self, url: str) -> None:
        refused = refusal(url)
        assert "user or password" in refused
        assert "pass@" not in refused

    @pytest.mark.parametrize(
        "url", ["https://hooks.example.com/#", "https://hooks.example.com#x", "https://a.com/?b#c"]
    )
    def test_with_a_fragment(self, url: str) -> None:
        assert "fragment" in refusal(url)

    @pytest.mark.parametrize(
        "path", ["/a b", "/a\r\nhost: x", "/a\tb", "/é", "/%zz", "/%2", "/a\\b", "/\x00", "/<x>", '/"', "/{}", "/a\n"]
    )
    def test_whose_path_would_break_the_request(self, path: str) -> None:
        assert "RFC 3986" in refusal("https://hooks.example.com" + path)

    @pytest.mark.parametrize("port", ["0", "65536", "99999", "", "x", "-1", "443x", "٤٤٣", "4 3", "000443"])
    def test_whose_port_is_none(self, port: str) -> None:
        assert "port" in refusal(f"https://hooks.example.com:{port}/")

    @pytest.mark.parametrize(
        "host",
        [
            *("hooks.example.com.", "hooks.example.com..", ".example.com", "hooks..example.com", "-a.example.com"),
            *("a-.example.com", "a_b.example.com", "a" * 64 + ".com", "a." * 127 + "com", "%31%32%37.0.0.1", "a b.com"),
            *("a\tb.com", "a\\b.com", "a,b.com", "*.example.com", "\x00.com", "a。", "\u200b.com", "xn--é.com"),
            "\ud800.com",
        ],
    )
    def test_whose_host_is_no_name(self, host: str) -> None:
        assert "host" in refusal(f"https://{host}/") or "international" in refusal(f"https://{host}/")

    @pytest.mark.parametrize(
        "host",
        [
            *("localhost", "LOCALHOST", "intranet", "a.localhost", "printer.local", "x.internal", "x.invalid"),
            *(
                "metadata.google.internal",
                "a.test",
                "x.example",
                "x.alt",
                "1.0.0.127.in-addr.arpa",
                "x.home.arpa",
                "x.onion",
            ),
        ],
    )
    def test_whose_host_is_of_no_use_outside(self, host: str) -> None:
        assert "no name of the public Internet" in refusal(f"https://{host}/")

    @pytest.mark.parametrize(
        "host",
        [
            *("2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "017700000001", "0x7F.1"),
            *("8.8.8.08", "8.8.8.8.8", "256.1.1.1", "127.0.0.0x1", "1.2.3", "example.0x1", "example.9", "0x"),
            *(f"{WIDE_127}.1", "①②⑦.0.1", "127。1"),
        ],
    )
    def test_whose_host_is_an_address_in_disguise(self, host: str) -> None:
        assert "unusual form" in refusal(f"https://{host}/")

    @pytest.mark.parametrize("address", NOT_PUBLIC)
    def test_whose_address_is_not_public(self, address: str) -> None:
        host = f"[{address}]" if ":" in address else address
        assert refusal(f"https://{host}/").endswith("is not public")

    @pytest.mark.parametrize("host", [f"{WIDE_127}.0.0.1", "127。0。0。1", "①27.0.0.1"])
    def test_whose_address_is_written_in_other_digits(self, host: str) -> None:
        assert refusal(f"https://{host}/") == "the address 127.0.0.1 is not public"

    @pytest.mark.parametrize(
        "host", ["[::1", "[]", "[fe80::1%25eth0]", "[8.8.8.8]", "[:::1]", "[::1]x", "::1", "[g::]"]
    )
    def test_whose_brackets_hold_no_address(self, host: str) -> None:
        assert "host" in refusal(f"https://{host}/") or "brackets" in refusal(f"https://{host}/")

    @settings(deadline=None, derandomize=True, max_examples=300, database=None)
    @given(rest=st.text(max_size=40))
    @example("xn--a.com/").via("an A-label that decodes to nothing")
    def test_nothing_but_a_refusal_comes_of_nonsense(self, rest: str) -> None:
        try:
            target = check_url("https://" + rest)
        except TargetRefused:
            return
        assert target.url.isascii()
        assert check_url(target.url) == target

    def test_a_target_does_not_show_its_path(self) -> None:
        target = check_url("https://hooks.example.com:8443/t0ken?key=s3cret")
        assert repr(target) == "<Target hooks.example.com:8443>"
        assert target.url == "https://hooks.example.com:8443/t0ken?key=s3cret"


class TestResolve:
    TARGET = check_url("https://hooks.example.com/")

    def test_gives_every_address_once_and_in_order(self) -> None:
        assert resolve(self.TARGET, lambda _: [*PUBLIC, *PUBLIC]) == tuple(PUBLIC)

    @pytest.mark.parametrize("address", [*NOT_PUBLIC, "fe80::1%eth0", "2606:4700::1111%eth0", "", "hooks.example.com"])
    @pytest.mark.parametrize("others", [[], PUBLIC[:1]])
    def test_refuses_a_name_of_which_any_address_is_not_public(self, address: str, others: list[str]) -> None:
        with pytest.raises(TargetRefused, match=r"hooks\.example\.com leads to") as raised:
            resolve(self.TARGET, lambda _: [*others, address])
        assert raised.value.retry_helps is True  # a name can be set right

    def test_does_not_look_an_address_up(self) -> None:
        def lookup(host: str) -> list[str]:
            raise AssertionError(host)

        assert resolve(check_url("https://8.8.8.8/"), lookup) == ("8.8.8.8",)

    def test_a_name_without_addresses_is_unknown(self) -> None:
        with pytest.raises(socket.gaierror):
            resolve(self.TARGET, lambda _: [])

    def test_the_systems_resolver_is_asked(self) -> None:
        assert "127.0.0.1" in system_lookup("localhost")


class TestAllowedPairs:
    def test_may_be_on_this_machine_and_speak_plain_http(self) -> None:
        target = check_url("http://127.0.0.1:9100/hooks", ["127.0.0.1:9100"])
        assert target == Target("127.0.0.1", 9100, "/hooks", False, True)
        assert resolve(target) == ("127.0.0.1",)
        assert check_url("https://[::1]:9100/", ["[::1]:9100"]).is_local
        assert set(resolve(check_url("http://localhost:9100/", ["localhost:9100"]))) <= {"127.0.0.1", "::1"}

    @pytest.mark.parametrize(
        "url",
        [
            *("http://127.0.0.1:9101/", "http://127.0.0.2:9100/", "http://localhost:9100/", "http://127.0.0.1/"),
            *("http://127.0.0.1:91/00", "http://127.0.0.1:9100@8.8.8.8/", "http://127.1:9100/"),
            *("ftp://127.0.0.1:9100/", "https://127.0.0.1/", "http://[::ffff:127.0.0.1]:9100/"),
        ],
    )
    def test_open_nothing_else(self, url: str) -> None:
        assert refusal(url, ["127.0.0.1:9100"])

    @pytest.mark.parametrize("address", ["10.0.0.1", "169.254.169.254", "fd00:ec2::254", UNSPECIFIED])
    def test_do_not_lead_from_this_machine_into_its_network(self, address: str) -> None:
        target = check_url("http://receiver.test:9100/", ["receiver.test:9100"])
        assert resolve(target, lambda _: ["127.0.0.1"]) == ("127.0.0.1",)
        with pytest.raises(TargetRefused):
            resolve(target, lambda _: ["127.0.0.1", address])
