"""Google's own client for Python at work: does one step that it is told on stdin, and prints what it got, as JSON.

Needs Debian's python3-googleapi. Where www.googleapis.com and oauth2.googleapis.com are is the environment's business.
"""

import base64
import io
import json
import sys

from google.oauth2.credentials import Credentials
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaFileUpload, MediaIoBaseDownload

FIELDS = "id,name,mimeType,parents,size,md5Checksum,sha256Checksum,headRevisionId,modifiedTime,appProperties"


def fetch(request, chunk):
    """The bytes that a request for media answers, `chunk` at a time, and in how many pieces they came."""
    into, pieces, done = io.BytesIO(), 0, False
    media = MediaIoBaseDownload(into, request, chunksize=chunk)
    while not done:
        _, done = media.next_chunk()
        pieces += 1
    return {"base64": base64.b64encode(into.getvalue()).decode(), "pieces": pieces}


def create(drive, body, path=None, mime="application/octet-stream"):
    media = MediaFileUpload(path, mime) if path else None
    return drive.files().create(body=body, media_body=media, fields=FIELDS).execute()


def update(drive, id, path, mime="application/octet-stream", **more):
    return drive.files().update(fileId=id, media_body=MediaFileUpload(path, mime), fields=FIELDS, **more).execute()


def resumable(drive, body, path, chunk, id=None):
    media = MediaFileUpload(path, "application/octet-stream", chunksize=chunk, resumable=True)
    files = drive.files()
    request = (
        files.update(fileId=id, body=body, media_body=media, fields=FIELDS)
        if id
        else files.create(body=body, media_body=media, fields=FIELDS)
    )
    acknowledged, file = [], None
    while file is None:
        status, file = request.next_chunk()
        if status:
            acknowledged.append(status.resumable_progress)
    return {"file": file, "acknowledged": acknowledged}


def list_pages(drive, q, size):
    pages, request = [], drive.files().list(q=q, pageSize=size, orderBy="name", fields="nextPageToken,files(id,name)")
    while request is not None:
        answer = request.execute()
        pages.append([file["name"] for file in answer["files"]])
        request = drive.files().list_next(request, answer)
    return pages


def download(drive, id, chunk):
    return fetch(drive.files().get_media(fileId=id), chunk)


def copy(drive, id, body):
    return drive.files().copy(fileId=id, body=body, fields=FIELDS).execute()


def reserve(drive, count):
    return drive.files().generateIds(count=count).execute()["ids"]


def revisions(drive, id):
    mask = "id,size,md5Checksum,keepForever,modifiedTime"
    listed = drive.revisions().list(fileId=id, fields=f"revisions({mask})").execute()["revisions"]
    return {
        "listed": listed,
        "got": [drive.revisions().get(fileId=id, revisionId=one["id"], fields=mask).execute() for one in listed],
    }


def revision_media(drive, id, revision):
    return fetch(drive.revisions().get_media(fileId=id, revisionId=revision), 1 << 20)


def pin(drive, id, revision):
    return drive.revisions().update(fileId=id, revisionId=revision, body={"keepForever": True}, fields="id,keepForever").execute()


def batch(drive, ids):
    """The names of `ids`, asked for in one request; of what cannot be had, the status."""
    names = {}

    def took(id, answer, error):
        names[id] = error.resp.status if error else answer["name"]

    together = drive.new_batch_http_request(callback=took)
    for id in ids:
        together.add(drive.files().get(fileId=id, fields="name"), request_id=id)
    together.execute()
    return names


STEPS = [create, update, resumable, list_pages, download, copy, reserve, revisions, revision_media, pin, batch]


def main():
    order = json.load(sys.stdin)
    with open(order["discovery"], encoding="utf-8") as document:
        drive = build_from_document(json.load(document), credentials=Credentials(**order["credentials"]))
    step = next(step for step in STEPS if step.__name__ == order["step"])
    try:
        answer = {"answer": step(drive, **order.get("args", {}))}
    except HttpError as error:
        answer = {"status": error.resp.status, "error": json.loads(error.content)["error"]}
    json.dump(answer, sys.stdout)


main()
