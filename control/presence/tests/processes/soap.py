# SPDX-License-Identifier: MIT OR Apache-2.0
"""A client of CUP's Client Configuration Web Service: zeep, made from the node's WSDL, over SOAP 1.1 and 1.2.

Called by soap.rs with the service's URL and the CA's certificate. zeep holds every answer against the schema (strict). Ends with bob having
ann and x in his list, x blocked, foreign.example allowed and everybody else asked.
"""

import sys

import requests
from zeep import Client, Settings
from zeep.exceptions import Fault
from zeep.transports import Transport

URL, CA = sys.argv[1:]
session = requests.Session()
session.verify = CA
# Proxies and authorities of the machine are none of the test's.
session.trust_env = False
client = Client(f"{URL}/EPASSoap/service/v80?wsdl", transport=Transport(session=session, timeout=10), settings=Settings(strict=True))


def the_same(found, wanted) -> None:
    assert found == wanted, f"{found!r} and not {wanted!r}"


def done(answer) -> None:
    """zeep makes nothing of an answer that says no more than success."""
    assert answer is None or answer["failure"] is None, answer


def refused(call, *words: str) -> None:
    try:
        call()
    except Fault as fault:
        assert all(word in fault.message for word in words), fault.message
    else:
        raise AssertionError(f"{words} was not refused")


def contacts(service, key: dict) -> dict:
    groups = service["get-contact-list"](_soapheaders=key)
    return {group["name"]: {one["_value_1"]: one["nickname"] for one in group["persona-id"]} for group in groups}


def test(binding: str) -> None:
    service = client.create_service(f"{{urn:cisco:epas:soap}}{binding}", f"{URL}/EPASSoap/service/v80")
    wrong = service.login(username="bob", password="wrong", **{"client-type": "CUPC", "client-version": "8.0", "force": True})
    assert wrong["success"] is None and "wrong" in wrong["failure"]["reason"], wrong
    refused(lambda: service["get-contact-list"](), "session-key")
    refused(lambda: service["get-contact-list"](_soapheaders={"session-key": "0" * 64}), "not valid")

    logged_in = service.login(username="bob", password="b", **{"client-type": "CUPC", "force": False})
    assert "v80" in logged_in["success"]["version"], logged_in
    key = {"session-key": logged_in["success"]["session-key"]}

    # Contacts, as CUP's clients add them: whole, by a domain, and by ours.
    people = [{"_value_1": "ann", "nickname": "Ann <&>"}, {"_value_1": "x", "domain": "foreign.example"}, {"_value_1": "y@foreign.example"}]
    done(service["add-contact"](group=[{"name": "Friends", "persona-id": people}], _soapheaders=key))
    friends = {"ann@local.example": "Ann <&>", "x@foreign.example": "", "y@foreign.example": ""}
    the_same(contacts(service, key), {"Friends": friends, "General": {}})
    # In a second group, with the name she has; out of the first; and out of the last.
    more = [{"name": "Work & more", "persona-id": [{"_value_1": "ann"}]}, {"name": "General", "persona-id": [{"_value_1": "z@foreign.example"}]}]
    done(service["add-contact"](group=more, _soapheaders=key))
    ann = {"ann@local.example": "Ann <&>"}
    the_same(contacts(service, key), {"Friends": friends, "General": {"z@foreign.example": ""}, "Work & more": ann})
    done(service["delete-contact"](group=[{"name": "Friends", "persona-id": [{"_value_1": "ann"}]}], _soapheaders=key))
    gone = [
        {"name": "Friends", "persona-id": [{"_value_1": "y@foreign.example"}, {"_value_1": "nobody@foreign.example"}]},
        {"name": "General", "persona-id": [{"_value_1": "z@foreign.example"}, {"_value_1": "x@foreign.example"}]},
    ]
    removed = service["delete-contact"](group=gone, _soapheaders=key)["failure"]["reason"]
    assert "nobody@foreign.example: not in the group Friends" in removed and "x@foreign.example: not in the group General" in removed, removed
    the_same(contacts(service, key), {"Friends": {"x@foreign.example": ""}, "General": {}, "Work & more": ann})
    # So that the next binding begins as this one did: no group but the one for x.
    done(service["delete-contact"](group=[{"name": "Work & more", "persona-id": [{"_value_1": "ann"}]}], _soapheaders=key))
    done(service["add-contact"](group=[{"name": "Friends", "persona-id": [{"_value_1": "ann", "nickname": "Ann <&>"}]}], _soapheaders=key))

    # Who may see him.
    entries = [{"_value_1": "x@foreign.example", "handling": "block"}, {"_value_1": "foreign.example", "handling": "allow"}]
    done(service["set-privacy-policy"](entry=entries, default="block", _soapheaders=key))
    policy = service["get-privacy-policy"](_soapheaders=key)
    the_same(policy["default"], "block")
    the_same({one["_value_1"]: one["handling"] for one in policy["entry"]}, {"x@foreign.example": "block", "foreign.example": "allow"})
    bad = service["set-privacy-policy"](entry=[{"_value_1": "x@foreign.example", "handling": "perhaps"}], _soapheaders=key)
    assert "perhaps" in bad["failure"]["reason"], bad
    done(service["set-privacy-policy"](default="ask", _soapheaders=key))
    the_same(service["get-watchers"](_soapheaders=key), [])

    # The configuration.
    done(service["set-user-config"](property=[{"name": "calendar.format", "_value_1": "24h"}], _soapheaders=key))
    system = {one["name"]: one["_value_1"] for one in service["get-system-config"](_soapheaders=key)}
    the_same(system["Presence.Domain"], "local.example")
    everything = service["get-all-config"](**{"system-config": {}, "user-config": {}, "federated-domains": {"auth-policy": "all"}, "contact-info": {}}, _soapheaders=key)
    the_same(everything["get-federated-domains-resp"]["domain"], ["foreign.example"])
    user = {one["name"]: one["_value_1"] for one in everything["get-user-config-resp"]["property"]}
    the_same((user["User.Address"], user["calendar.format"]), ("bob@local.example", "24h"))
    the_same(len(everything["get-contact-info-resp"]["group"][0]["persona-id"]), 2)

    done(service.logout(_soapheaders=key))
    refused(lambda: service["get-user-config"](_soapheaders=key), "not valid")


for name in ("EpasSoapServiceBinding", "EpasSoapServiceBinding12"):
    test(name)

# What is no request is a fault and nothing else.
for body, kind, word in [("<a", "text/xml", "well-formed"), ("<a/>", "text/xml", "envelope")]:
    answer = session.post(f"{URL}/EPASSoap/service", data=body, headers={"Content-Type": kind})
    assert answer.status_code == 500 and "Fault" in answer.text and word in answer.text, answer.text
