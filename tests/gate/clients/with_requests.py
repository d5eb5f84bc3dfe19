"""HTTP with `requests`: standard input has METHOD PATH BODY on each line; printed are the status and body of each."""

import sys

import requests

base, token = sys.argv[1:]
with requests.Session() as session:
    session.headers["Authorization"] = f"Bearer {token}"
    for line in sys.stdin:
        method, path, body = line.rstrip("\n").split(" ", 2)
        headers = {"Content-Type": "application/json"} if body else {}
        answer = session.request(method, base + path, data=body or None, headers=headers)
        print(answer.status_code, answer.text)
