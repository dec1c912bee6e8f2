#!/usr/bin/env python3
"""Makes tests/vectors/signatures.json: what the vendor's own SDK signs, for our signer to be held against.

    python3 -m venv /tmp/vectors && /tmp/vectors/bin/pip install huaweicloudsdkcore
    /tmp/vectors/bin/python scripts/signature-vectors.py > tests/vectors/signatures.json

The answer depends on nothing but the requests below: the same SDK version gives the same bytes again.
All keys are made up, save those of the example that the vendor's developer guide prints.
"""

import json
from importlib.metadata import version
from types import SimpleNamespace

from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer

PROJECT = "0123456789abcdef0123456789abcdef"
HOST = "workspace.ap-southeast-3.myhuaweicloud.com"
EXPORT = f"/v2/{PROJECT}/connections/desktops/export"
ACCESS_KEY, SECRET_KEY = "EXAMPLEACCESSKEY0001", "example-secret-key-that-opens-nothing-01"
TOKEN = "gQpleXRva2Vu/example+token==~.-_"

ODD_TEXTS = {
    "space": "Ada King Lovelace",
    "plus": "a+b",
    "tilde": "~ada~",
    "star": "*ada*",
    "slash": "CORP/ada",
    "percent": "100% %20 %zz",
    "ampersand": "a&b&c",
    "equals": "a=b==",
    "question": "who?",
    "hash": "a#b",
    "backslash": "CORP\\ada",
    "quotes": "it's \"ada\" (`x`)",
    "brackets": "[a]{b}<c>|^",
    "semicolon": "a;b,c:d@e!$",
    "edge-spaces": " ada ",
    "tab-newline": "a\tb\nc",
    "latin": "Zoë Müller",
    "chinese": "张伟 桌面",
    "emoji": "👩‍💻🖥️",
    "astral-before-bmp": "\U0001f600\ufffd",
}


def sign(name, query, *, token=None, method="GET", host=HOST, path=EXPORT, headers=None, body="",
         access_key=ACCESS_KEY, secret_key=SECRET_KEY, at="20261123T020005Z"):
    sent = {"X-Sdk-Date": at, **({"X-Security-Token": token} if token else {}), **(headers or {})}
    request = SdkRequest(method=method, schema="https", host=host, resource_path=path,
                         query_params=[(key, value) for key, value in query], header_params=dict(sent), body=body)
    signed = Signer(SimpleNamespace(ak=access_key, sk=secret_key)).sign(request)
    _, _, query_text = signed.uri.partition("?")
    return {
        "name": name, "method": method, "host": host, "path": path, "query": query, "headers": headers or {},
        "body": body, "at": at, "access_key": access_key, "secret_key": secret_key, "security_token": token,
        "expected": {"query": query_text, "authorization": signed.header_params["Authorization"]},
    }


def vectors():
    yield sign("published: api-sign-algorithm-002",
               [["marker", "13551d6b-755d-4757-b956-536f674975c0"], ["limit", "2"]],
               host="service.region.example.com", path="/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs",
               headers={"Content-Type": "application/json"}, at="20191115T033655Z",
               access_key="QTWAOYTTINDUT2QVKYUC", secret_key="MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc")
    project = {"X-Project-Id": PROJECT}
    bounds = [["start_time", "2026-11-21T23:59Z"], ["end_time", "2026-11-23T00:01Z"], ["language", "en_US"]]
    for token in (None, TOKEN):
        suffix = ", temporary" if token else ""
        yield sign(f"no filter{suffix}", bounds, token=token, headers=project)
        for label, text in ODD_TEXTS.items():
            filters = [[key, text] for key in ("user_name", "computer_name", "terminal_type")]
            yield sign(f"{label} in every filter{suffix}", bounds + filters, token=token, headers=project)
    yield sign("no query at all", [], headers=project)
    yield sign("a name twice, sorted by value", [["b", "2"], ["a", "z"], ["b", "10"], ["a", ""]])
    yield sign("an encoded path", [], path="/v2/a%20b/%7Ec/%E4%BD%A0/d+e/export")
    yield sign("a path with its slash", [], path="/v2/x/")
    yield sign("a port in the host", bounds, host="127.0.0.1:8443")
    yield sign("spaces around a value", [], headers={"X-Project-Id": "  padded\t"})
    yield sign("an underscore in a name stays unsigned", [], headers={"x_trace": "1", **project})
    yield sign("a body", [], method="POST", path=f"/v2/{PROJECT}/export-tasks/batch-delete",
               headers={"Content-Type": "application/json"}, body='{"task_ids": ["一", "2"]}')


print(json.dumps({"made_with": f"huaweicloudsdkcore {version('huaweicloudsdkcore')}", "vectors": list(vectors())},
                 indent=1, ensure_ascii=True))
