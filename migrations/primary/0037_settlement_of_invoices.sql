-- Whether what came in for an invoice is what it calls paid: no invoice asks for the surcharge that a payer bears.
-- migrate: up

create view invoice_settlements with (security_invoker = true) as
select
    i.id as invoice_id, i.merchant, i.gateway, i.account, i.gateway_id, i.number, i.status, i.currency, i.total_minor,
    i.paid_minor, came.payments, came.in_minor as came_in_minor, came.surcharge_minor,
    i.paid_minor is not distinct from came.in_minor as agrees
from invoices i
cross join lateral (
    select
        count(*) as payments,
        coalesce(sum(p.received_minor - coalesce(p.surcharge_minor, 0)), 0)::bigint as in_minor,
        coalesce(sum(p.surcharge_minor), 0)::bigint as surcharge_minor
    from payments p
    where p.gateway = i.gateway and p.account = i.account and p.invoice_ref = i.gateway_id and p.merged_into is null
      and p.merchant = i.merchant and p.received_minor is not null
      and p.status in ('completed', 'partially_refunded', 'refunded')
) as came;

comment on view invoice_settlements is
    'invoices beside the payments that pay them: came_in_minor is what was received less surcharges';
grant select on invoice_settlements to gatehouse_worker, gatehouse_api, gatehouse_ops;

-- migrate: down

drop view invoice_settlements;
