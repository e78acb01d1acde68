"""Every error that Gatehouse raises on purpose.

    GatehouseError                      code                      HTTP  a retry helps
      SettingError                      SETTING_ERROR             500   no
      RequestRefused                    (given)                   4xx   no
        SignatureRefused                SIGNATURE_REFUSED         400   no
        InputRefused                    INPUT_REFUSED             422   no
        TooManyRequests                 TOO_MANY_REQUESTS         429   yes
        StatementRefused                STATEMENT_REFUSED         403   no
        TenantClosed                    (given)                   423   (given)
      ServiceUnavailable                SERVICE_UNAVAILABLE       503   yes
      GatewayError                      GATEWAY_ERROR             502   (given)
        GatewayObjectMissing            GATEWAY_OBJECT_MISSING    502   (given)
        GatewayKeyRefused               GATEWAY_KEY_REFUSED       502   (given)
      EngineError                       TENANT_ENGINE_ERROR       502   (given)
      FactRefused                       FACT_REFUSED              422   no
      TargetRefused                     TARGET_REFUSED            422   (given)
      HeaderRefused                     HEADER_REFUSED            422   no
      AwsError                          (AWS's own)               502   (given)
      SecretUnavailable                 SECRET_UNAVAILABLE        503   (given)
      SealBroken                        SEAL_BROKEN               500   no
        UnknownKey                      UNKNOWN_KEY               500   no
      MigrationRefused                  MIGRATION_REFUSED         409   no
        RunnerBusy                      RUNNER_BUSY               409   yes
      MigrationFailed                   MIGRATION_FAILED          500   (given)
      DatabaseError                     DATABASE_ERROR            500   no
        TenantStatementFailed           QUERY_FAILED              400   (given)
        ConnectionError                 CONNECTION_ERROR          503   yes
        TimeoutError                    TIMEOUT                   503   yes
        TransactionConflict             CONFLICT                  409   yes
        QueryError                      QUERY_ERROR               500   no
          DuplicateEntry                DUPLICATE_ENTRY           409   no
          ForeignKeyViolation           FOREIGN_KEY_VIOLATION     409   no
          NotNullViolation              NOT_NULL_VIOLATION        422   no
          ValidationError               VALIDATION_ERROR          422   no
          Conflict                      STATE_CONFLICT            409   no
            IllegalStep                 ILLEGAL_STEP              409   no
            KeyReused                   IDEMPOTENCY_CONFLICT      409   no
            ChangedMeanwhile            CHANGED_MEANWHILE         412   no
            RefundTooLarge              REFUND_TOO_LARGE          409   no
        NotFound                        NOT_FOUND                 404   no

`code` is stable: callers and dashboards may compare it. The class docstring is the message where none is given.
"""


class GatehouseError(Exception):
    """Something went wrong in Gatehouse."""

    code = "GATEHOUSE_ERROR"
    http_status = 500
    retry_helps = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or self.code).splitlines()[0])


class SettingError(GatehouseError):
    """A setting is missing or wrong; the message names it."""

    code = "SETTING_ERROR"


class RequestRefused(GatehouseError):
    """The caller sent something that we do not accept; the message says what."""

    code = "REQUEST_REFUSED"
    http_status = 400

    def __init__(self, message: str | None = None, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code or self.code
        self.http_status = status or self.http_status


class SignatureRefused(RequestRefused):
    """The signature is missing or does not match the body."""

    code = "SIGNATURE_REFUSED"


class InputRefused(RequestRefused):
    """One part of the request is not as it must be; the error names it."""

    code = "INPUT_REFUSED"
    http_status = 422

    def __init__(self, message: str, *, field: str, place: str) -> None:
        super().__init__(message)
        self.field = field
        self.place = place  # query, path, header or body


class TooManyRequests(RequestRefused):
    """The caller has used up its requests for now."""

    code = "TOO_MANY_REQUESTS"
    http_status = 429
    retry_helps = True

    def __init__(self, message: str | None = None, *, wait_seconds: int) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class StatementRefused(RequestRefused):
    """The statement is of a kind that may not be run over HTTP; the message says which."""

    code = "STATEMENT_REFUSED"
    http_status = 403


class TenantClosed(RequestRefused):
    """The tenant's database takes no statements now; the message says why."""

    code = "TENANT_CLOSED"
    http_status = 423

    def __init__(
        self, message: str | None = None, *, code: str | None = None, status: int | None = None, retry_helps: bool
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_helps = retry_helps


class ServiceUnavailable(GatehouseError):
    """Neither the database nor the queue could take the request; the sender should try again."""

    code = "SERVICE_UNAVAILABLE"
    http_status = 503
    retry_helps = True


class GatewayError(GatehouseError):
    """A gateway's API refused a call or did not answer."""

    code = "GATEWAY_ERROR"
    http_status = 502

    def __init__(
        self,
        message: str,
        *,
        retry_helps: bool,
        retry_after_seconds: float | None = None,
        answered_status: int | None = None,
        gateway_words: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_helps = retry_helps
        self.retry_after_seconds = retry_after_seconds
        self.answered_status = answered_status  # of HTTP; None where there was no answer, or one that says nothing
        # The gateway's own sentence, which may quote what was asked: kept with what it is about, and never logged.
        self.gateway_words = gateway_words


class GatewayObjectMissing(GatewayError):
    """A gateway does not know the object that it was asked for."""

    code = "GATEWAY_OBJECT_MISSING"


class GatewayKeyRefused(GatewayError):
    """A gateway refused our credentials."""

    code = "GATEWAY_KEY_REFUSED"


class GatewayListsNothing(GatewayError):
    """A gateway lists no payments to us: the key may not, or the gateway has no such list after all."""

    code = "GATEWAY_LISTS_NOTHING"


class EngineError(GatehouseError):
    """The engine that makes tenants' databases refused or did not answer."""

    code = "TENANT_ENGINE_ERROR"
    http_status = 502

    def __init__(
        self, message: str, *, retry_helps: bool, retry_after_seconds: float | None = None, status: int | None = None
    ) -> None:
        super().__init__(message)
        self.retry_helps = retry_helps
        self.retry_after_seconds = retry_after_seconds
        self.status = status  # of its HTTP answer, where it gave one


class FactRefused(GatehouseError):
    """A genuine event says something that cannot be true of money; the message says what."""

    code = "FACT_REFUSED"
    http_status = 422


class TargetRefused(GatehouseError):
    """Nothing is forwarded to this address; the message says why."""

    code = "TARGET_REFUSED"
    http_status = 422

    def __init__(self, message: str, *, retry_helps: bool = False) -> None:
        super().__init__(message)
        self.retry_helps = retry_helps


class HeaderRefused(GatehouseError):
    """A header cannot be sent along with what is forwarded; the message names it."""

    code = "HEADER_REFUSED"
    http_status = 422


class AwsError(GatehouseError):
    """An AWS service refused a call or did not answer."""

    http_status = 502

    def __init__(self, code: str, message: str, *, retry_helps: bool) -> None:
        super().__init__(message)
        self.code = code
        self.retry_helps = retry_helps


class SecretUnavailable(GatehouseError):
    """A secret could not be fetched, and none is remembered."""

    code = "SECRET_UNAVAILABLE"
    http_status = 503

    def __init__(self, message: str | None = None, *, retry_helps: bool = True) -> None:
        super().__init__(message)
        self.retry_helps = retry_helps


class SealBroken(GatehouseError):
    """Sealed bytes do not open: they were changed, cut, or belong to something else."""

    code = "SEAL_BROKEN"


class UnknownKey(SealBroken):
    """The bytes were sealed with a key that the keyring does not have."""

    code = "UNKNOWN_KEY"


class MigrationRefused(GatehouseError):
    """The migration files or the database are not as they must be; nothing was changed."""

    code = "MIGRATION_REFUSED"
    http_status = 409


class RunnerBusy(MigrationRefused):
    """Another runner migrates this database and did not finish in time."""

    code = "RUNNER_BUSY"
    retry_helps = True


class MigrationFailed(GatehouseError):
    """The database refused a statement of a migration; the message names file, line and statement."""

    code = "MIGRATION_FAILED"

    def __init__(self, message: str, *, sqlstate: str | None = None, retry_helps: bool = False) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.retry_helps = retry_helps


class DatabaseError(GatehouseError):
    """The database refused or failed."""

    code = "DATABASE_ERROR"
    position = 0  # of the character in the statement that the server points at, counted from 1; 0 where it names none

    def __init__(
        self,
        message: str | None = None,
        *,
        sqlstate: str | None = None,
        constraint: str | None = None,
        statement: str | None = None,
    ) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate
        self.constraint = constraint
        self.statement = statement


class TenantStatementFailed(DatabaseError):
    """A tenant's database refused a statement of its own user; the message is the server's."""

    code = "QUERY_FAILED"
    http_status = 400


class ConnectionError(DatabaseError):
    """The database cannot be reached, or hung up."""

    code = "CONNECTION_ERROR"
    http_status = 503
    retry_helps = True


class TimeoutError(DatabaseError):
    """The database took longer than it was allowed to."""

    code = "TIMEOUT"
    http_status = 503
    retry_helps = True


class TransactionConflict(DatabaseError):
    """Another transaction stood in the way (deadlock or serialisation); the same work may be sent again."""

    code = "CONFLICT"
    http_status = 409
    retry_helps = True


class QueryError(DatabaseError):
    """The database refused a statement."""

    code = "QUERY_ERROR"


class DuplicateEntry(QueryError):
    """A row with this key is there already."""

    code = "DUPLICATE_ENTRY"
    http_status = 409


class ForeignKeyViolation(QueryError):
    """The row points at another row that does not exist, or is still pointed at."""

    code = "FOREIGN_KEY_VIOLATION"
    http_status = 409


class NotNullViolation(QueryError):
    """A value that must be given is missing."""

    code = "NOT_NULL_VIOLATION"
    http_status = 422


class ValidationError(QueryError):
    """A value has the wrong form or breaks a rule of its column."""

    code = "VALIDATION_ERROR"
    http_status = 422

    @classmethod
    def of_field(cls, field: str, reason: str) -> "ValidationError":
        """Return the error of one field, named as in `items[0].quantity`."""
        return cls(f"{field}: {reason}", constraint=field)

    @property
    def field(self) -> str:
        """The field that is wrong; empty where the message alone says what is."""
        return self.constraint or ""


class Conflict(QueryError):
    """The row is not in a state in which this can be done."""

    code = "STATE_CONFLICT"
    http_status = 409


class IllegalStep(Conflict):
    """The status of an order cannot become this one; `allowed` are those that it can."""

    code = "ILLEGAL_STEP"

    @property
    def allowed(self) -> tuple[str, ...]:
        """The steps that may be taken."""
        return tuple(filter(None, (self.constraint or "").split(",")))


class KeyReused(Conflict):
    """The idempotency key was used for something else."""

    code = "IDEMPOTENCY_CONFLICT"


class ChangedMeanwhile(Conflict):
    """The row was changed since it was read."""

    code = "CHANGED_MEANWHILE"
    http_status = 412


class RefundTooLarge(Conflict):
    """More would be given back than is left of the payment."""

    code = "REFUND_TOO_LARGE"

    @property
    def left_minor(self) -> int:
        """What is left to be given back."""
        return int(self.constraint or 0)


class NotFound(DatabaseError):
    """There is no such row."""

    code = "NOT_FOUND"
    http_status = 404
