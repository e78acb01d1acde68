"""The API for people and their programs: payments and all that hangs on them, one merchant at a time."""

from analytics_api.api import build
from gatehouse.backup.connection import backup_or_none
from gatehouse.database.connection import database
from gatehouse.http_api.callers import Desk
from gatehouse.http_api.lambda_handler import lambda_handler
from gatehouse.settings import settings

handler = lambda_handler(build(Desk(database, backup=backup_or_none), settings().api_origins))
