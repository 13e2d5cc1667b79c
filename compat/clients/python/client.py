"""Makes calls with requests: reads a list of calls from each line of standard input, makes
them at the same time, and writes the list of their answers as a line."""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urljoin

import requests
from requests.auth import HTTPBasicAuth, HTTPDigestAuth

base_url = os.environ["MONGODB_ATLAS_BASE_URL"]
key = os.environ["MONGODB_ATLAS_PUBLIC_API_KEY"], os.environ["MONGODB_ATLAS_PRIVATE_API_KEY"]

session = requests.Session()
session.auth = (HTTPBasicAuth if os.environ["FORM"] == "basic" else HTTPDigestAuth)(*key)


def send(call):
    response = session.request(
        call["method"], urljoin(base_url, call["url"]), headers=call["header"], data=call.get("body"), timeout=30
    )
    return {
        "status": response.status_code,
        "contentType": response.headers.get("content-type", ""),
        "body": response.text,
    }


with ThreadPoolExecutor(64) as pool:
    for line in sys.stdin:
        calls = json.loads(line)
        # A single thread keeps its nonce. Each of several threads has a nonce of its own.
        answers = map(send, calls) if len(calls) == 1 else pool.map(send, calls)
        print(json.dumps(list(answers)), flush=True)
