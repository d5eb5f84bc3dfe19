"""HTTP with `httpx`: standard input has METHOD PATH BODY on each line; printed are the status and body of each."""

import sys

import httpx

base, token = sys.argv[1:]
with httpx.Client(headers={"Authorization": f"Bearer {token}"}) as client:
    for line in sys.stdin:
        method, path, body = line.rstrip("\n").split(" ", 2)
        headers = {"Content-Type": "application/json"} if body else {}
        answer = client.request(method, base + path, content=body or None, headers=headers)
        print(answer.status_code, answer.text)
