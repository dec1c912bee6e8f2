#!/usr/bin/env python3
"""Drives an endpoint with the vendor's own Python clients, for the simulator to be held against them.

    PYTHONPATH=$(scripts/huaweicloud-sdk --fetch) scripts/sdk-client.py ENDPOINT PROJECT OPERATION [ARGUMENT...]

    export-v2 START END FILE            the v2 export, into FILE
    query START END                     every page of the records
    create-task START END               a task of the v3 export
    list-tasks [TASK_ID] [true|false]   one page of the export centre; TASK_ID may be empty
    download TASK_ID FILE               a task's file, into FILE
    delete-tasks TASK_ID...
    export-v3 START END FILE            a task from its creation to its deletion
    iam-token DOMAIN USER SCOPE         with the password in CONNVAULT_SDK_PASSWORD; SCOPE is a project's name
    iam-projects REGION                 by the identity service's client, and as the SDK itself looks for a project
    agency-query START END              as query, with temporary keys of ENDPOINT's metadata service

START and END are written as the operation wants them. The keys are in CONNVAULT_SDK_ACCESS_KEY and
CONNVAULT_SDK_SECRET_KEY. What comes out is one JSON document; where the service refuses, it is
{"refused": {...}}, and the exit status is 3.
"""

import json
import os
import sys
import time

# Before the clients are loaded: the endpoint is on this machine, whatever proxy there is.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "*"

from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.auth.internal import MetadataAccessor
from huaweicloudsdkcore.exceptions.exceptions import ServiceResponseException
from huaweicloudsdkcore.region.region import Region
from huaweicloudsdkiam import v3 as iam
from huaweicloudsdkworkspace import v2 as workspace

OPERATIONS = ("export-v2", "query", "create-task", "list-tasks", "download", "delete-tasks", "export-v3", "iam-token",
              "iam-projects", "agency-query")
PAGE = 100
POLLS, PAUSE_SECONDS = 100, 0.1


def keys():
    return os.environ["CONNVAULT_SDK_ACCESS_KEY"], os.environ["CONNVAULT_SDK_SECRET_KEY"]


def plain(model):
    """What a model of the SDK holds; what it was not given is null."""
    return json.loads(json.dumps(model.to_dict(), default=str)) if model is not None else None


def saved(response, path):
    with open(path, "wb") as file:
        file.write(response.raw_content)
    return {"status": response.status_code, "bytes": len(response.raw_content)}


class Operations:
    def __init__(self, endpoint, project):
        self.endpoint, self.project = endpoint, project

    def workspace(self, credentials=None):
        credentials = credentials or BasicCredentials(*keys(), self.project)
        builder = workspace.WorkspaceClient.new_builder()
        return builder.with_credentials(credentials).with_endpoint(self.endpoint).build()

    def iam(self):
        credentials = GlobalCredentials(*keys(), "any-domain")
        return iam.IamClient.new_builder().with_credentials(credentials).with_endpoint(self.endpoint).build()

    def export_v2(self, start, end, path):
        request = workspace.ExportUserLoginInfoNewRequest(start_time=start, end_time=end)
        return saved(self.workspace().export_user_login_info_new(request), path)

    def query(self, start, end, credentials=None):
        client, records = self.workspace(credentials), []
        while True:
            page = client.list_login_records_new(workspace.ListLoginRecordsNewRequest(
                start_time=start, end_time=end, offset=str(len(records)), limit=str(PAGE)))
            records += page.records
            if not page.records or len(records) >= page.total_count:
                return {"total_count": page.total_count, "records": [plain(record) for record in records]}

    def create_task(self, start, end):
        request = workspace.ExportUserConnectionNewRequest(start_time=start, end_time=end)
        return {"task_id": self.workspace().export_user_connection_new(request).task_id}

    def list_tasks(self, task_id="", is_download=None):
        request = workspace.ListExportTasksRequest(
            task_id=task_id or None, is_download=None if is_download is None else is_download == "true",
            sort_field="create_time", sort_type="ASC", offset=0, limit=PAGE)
        page = self.workspace().list_export_tasks(request)
        return {"count": page.count, "export_tasks": [plain(task) for task in page.export_tasks]}

    def download(self, task_id, path):
        request = workspace.DownloadExportFileRequest(task_id=task_id)
        return saved(self.workspace().download_export_file(request), path)

    def delete_tasks(self, *task_ids):
        body = workspace.DeleteExportTaskRequestBody(task_ids=list(task_ids))
        response = self.workspace().delete_export_tasks(workspace.DeleteExportTasksRequest(body=body))
        return {"status": response.status_code}

    def export_v3(self, start, end, path):
        task_id = self.create_task(start, end)["task_id"]
        statuses = []
        while not statuses or statuses[-1] == "CREATING":
            if len(statuses) == POLLS:
                raise SystemExit(f"the task {task_id} is still being made")
            time.sleep(PAUSE_SECONDS if statuses else 0)
            statuses += [task["status"] for task in self.list_tasks(task_id)["export_tasks"]]
        if statuses[-1] != "SUCCESS":
            return {"task_id": task_id, "statuses": statuses}
        file = self.download(task_id, path)
        return {"task_id": task_id, "statuses": statuses, **file, "deleted": self.delete_tasks(task_id)["status"]}

    def iam_token(self, domain, user, scope):
        password = os.environ["CONNVAULT_SDK_PASSWORD"]
        identity = iam.PwdIdentity(methods=["password"], password=iam.PwdPassword(user=iam.PwdPasswordUser(
            domain=iam.PwdPasswordUserDomain(name=domain), name=user, password=password)))
        auth = iam.PwdAuth(identity=identity, scope=iam.AuthScope(project=iam.AuthScopeProject(name=scope)))
        response = self.iam().keystone_create_user_token_by_password(iam.KeystoneCreateUserTokenByPasswordRequest(
            body=iam.KeystoneCreateUserTokenByPasswordRequestBody(auth=auth)))
        return {"status": response.status_code, "x_subject_token": response.x_subject_token,
                "token": plain(response.token)}

    def iam_projects(self, region):
        listed = self.iam().keystone_list_projects(iam.KeystoneListProjectsRequest(name=region))
        projects = [plain(project) for project in listed.projects]
        if not projects:
            return {"projects": projects}
        # Without a project, a client of the SDK looks for one of the region's name.
        credentials = BasicCredentials(*keys()).with_iam_endpoint(self.endpoint)
        builder = workspace.WorkspaceClient.new_builder().with_credentials(credentials)
        builder.with_region(Region(region, self.endpoint)).build()
        return {"projects": projects, "found": credentials.project_id}

    def agency_query(self, start, end):
        # A virtual machine's address is nobody's here.
        MetadataAccessor._METADATA_ENDPOINT = self.endpoint
        credentials = BasicCredentials(project_id=self.project)
        answer = self.query(start, end, credentials)
        return {**answer, "access_key": credentials.ak}


def main():
    if len(sys.argv) < 4 or sys.argv[3] not in OPERATIONS:
        raise SystemExit(__doc__)
    endpoint, project, operation, *arguments = sys.argv[1:]
    try:
        answer = getattr(Operations(endpoint, project), operation.replace("-", "_"))(*arguments)
    except ServiceResponseException as refusal:
        said = {"status": refusal.status_code, "error_code": refusal.error_code, "error_msg": refusal.error_msg,
                "request_id": refusal.request_id}
        print(json.dumps({"refused": said}))
        raise SystemExit(3)
    print(json.dumps(answer))


main()
