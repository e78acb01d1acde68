-- What reports are made of. Sums of UTC from quarters of an hour to months, entries where there are no sums so fine, and
-- what is marked and not counted yet; all in one statement, so that nothing is counted twice while somebody counts. What
-- is read at the end of a slot is taken from one of its neighbours and added to the other: its sign is -1 and 1.

-- name: as_of
-- Until when the answers of this flush are complete.
select totals_as_of(:merchant::text, :most_outstanding::integer) as as_of;

-- name: attempt_cells
-- Payments by when they were first heard of.
with piece as (
    select level, since, until, adds_to, takes_from
    from unnest(:levels::text[], :sinces::timestamptz[], :untils::timestamptz[], :adds_to::integer[],
        :takes_from::integer[]) as piece (level, since, until, adds_to, takes_from)
),
cells as (
    select share.slot, share.sign, kept.* from piece cross join lateral (
        select t.bucket, t.currency, t.value, t.detail,
            t.payments, t.amount_minor, t.succeeded, t.failed, t.cancelled, t.duration_ms
        from totals t
        where t.merchant = :merchant::text and t.livemode = :livemode::boolean and t.breakdown = :breakdown::text
          and t.level = piece.level and t.bucket >= piece.since and t.bucket < piece.until
        offset 0  -- so that each range is one walk along the index, whatever is thought of how many rows it has
    ) as kept
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(kept.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level <> 'entry' and share.slot >= 0
    union all
    select share.slot, share.sign, told.* from piece cross join lateral (
        select e.bucket, e.currency, total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
            e.payments, e.amount_minor, e.succeeded, e.failed, e.cancelled, e.duration_ms
        from total_entries e
        where e.livemode = :livemode::boolean and (:merchant::text = '*' or e.merchant = :merchant::text)
          and e.bucket >= piece.since and e.bucket < piece.until
        offset 0
    ) as told
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(told.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level = 'entry' and share.slot >= 0
    union all
    select width_bucket(e.bucket, :starts::timestamptz[]) - 1, 1, e.bucket, e.currency,
        total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
        e.payments, e.amount_minor, e.succeeded, e.failed, e.cancelled, e.duration_ms
    from totals_outstanding(:merchant::text, :most_outstanding::integer) as e
    where e.livemode = :livemode::boolean and e.bucket >= :since::timestamptz and e.bucket < :until::timestamptz
)
select slot, currency,
    case when :apart::boolean then value else '' end as value,
    case when :apart::boolean then detail else '' end as detail,
    coalesce(total_sum(sign * payments), 0) as payments, coalesce(total_sum(sign * amount_minor), 0) as amount_minor,
    coalesce(total_sum(sign * succeeded), 0) as succeeded, coalesce(total_sum(sign * failed), 0) as failed,
    coalesce(total_sum(sign * cancelled), 0) as cancelled, coalesce(total_sum(sign * duration_ms), 0) as duration_ms
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: sale_cells
-- Money by when it came in and went back.
with piece as (
    select level, since, until, adds_to, takes_from
    from unnest(:levels::text[], :sinces::timestamptz[], :untils::timestamptz[], :adds_to::integer[],
        :takes_from::integer[]) as piece (level, since, until, adds_to, takes_from)
),
cells as (
    select share.slot, share.sign, kept.* from piece cross join lateral (
        select t.bucket, t.currency, t.value, t.detail,
            t.sales, t.gross_minor, t.fee_minor, t.unknown_fees, t.unknown_fee_gross_minor, t.refunds, t.refund_minor,
            t.other_fee_minor
        from totals t
        where t.merchant = :merchant::text and t.livemode = :livemode::boolean and t.breakdown = :breakdown::text
          and t.level = piece.level and t.bucket >= piece.since and t.bucket < piece.until
        offset 0  -- so that each range is one walk along the index, whatever is thought of how many rows it has
    ) as kept
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(kept.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level <> 'entry' and share.slot >= 0
    union all
    select share.slot, share.sign, told.* from piece cross join lateral (
        select e.bucket, e.currency, total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
            e.sales, e.gross_minor, e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.refunds, e.refund_minor,
            e.other_fee_minor
        from total_entries e
        where e.livemode = :livemode::boolean and (:merchant::text = '*' or e.merchant = :merchant::text)
          and e.bucket >= piece.since and e.bucket < piece.until
        offset 0
    ) as told
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(told.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level = 'entry' and share.slot >= 0
    union all
    select width_bucket(e.bucket, :starts::timestamptz[]) - 1, 1, e.bucket, e.currency,
        total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
        e.sales, e.gross_minor, e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.refunds, e.refund_minor,
        e.other_fee_minor
    from totals_outstanding(:merchant::text, :most_outstanding::integer) as e
    where e.livemode = :livemode::boolean and e.bucket >= :since::timestamptz and e.bucket < :until::timestamptz
)
select slot, currency,
    case when :apart::boolean then value else '' end as value,
    case when :apart::boolean then detail else '' end as detail,
    coalesce(total_sum(sign * sales), 0) as sales, coalesce(total_sum(sign * gross_minor), 0) as gross_minor,
    coalesce(total_sum(sign * fee_minor), 0) as fee_minor, coalesce(total_sum(sign * unknown_fees), 0) as unknown_fees,
    coalesce(total_sum(sign * unknown_fee_gross_minor), 0) as unknown_fee_gross_minor,
    coalesce(total_sum(sign * refunds), 0) as refunds, coalesce(total_sum(sign * refund_minor), 0) as refund_minor,
    coalesce(total_sum(sign * other_fee_minor), 0) as other_fee_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: back_cells
-- What went back, of the sales of a time and in it.
with piece as (
    select level, since, until, adds_to, takes_from
    from unnest(:levels::text[], :sinces::timestamptz[], :untils::timestamptz[], :adds_to::integer[],
        :takes_from::integer[]) as piece (level, since, until, adds_to, takes_from)
),
cells as (
    select share.slot, share.sign, kept.* from piece cross join lateral (
        select t.bucket, t.currency, t.value, t.detail,
            t.sales, t.gross_minor, t.sales_refunded, t.sales_refunded_minor, t.sales_disputed, t.refunds,
            t.refund_minor, t.disputes, t.dispute_minor, t.disputes_lost, t.lost_minor
        from totals t
        where t.merchant = :merchant::text and t.livemode = :livemode::boolean and t.breakdown = :breakdown::text
          and t.level = piece.level and t.bucket >= piece.since and t.bucket < piece.until
        offset 0  -- so that each range is one walk along the index, whatever is thought of how many rows it has
    ) as kept
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(kept.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level <> 'entry' and share.slot >= 0
    union all
    select share.slot, share.sign, told.* from piece cross join lateral (
        select e.bucket, e.currency, total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
            e.sales, e.gross_minor, e.sales_refunded, e.sales_refunded_minor, e.sales_disputed, e.refunds,
            e.refund_minor, e.disputes, e.dispute_minor, e.disputes_lost, e.lost_minor
        from total_entries e
        where e.livemode = :livemode::boolean and (:merchant::text = '*' or e.merchant = :merchant::text)
          and e.bucket >= piece.since and e.bucket < piece.until
        offset 0
    ) as told
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(told.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level = 'entry' and share.slot >= 0
    union all
    select width_bucket(e.bucket, :starts::timestamptz[]) - 1, 1, e.bucket, e.currency,
        total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
        e.sales, e.gross_minor, e.sales_refunded, e.sales_refunded_minor, e.sales_disputed, e.refunds, e.refund_minor,
        e.disputes, e.dispute_minor, e.disputes_lost, e.lost_minor
    from totals_outstanding(:merchant::text, :most_outstanding::integer) as e
    where e.livemode = :livemode::boolean and e.bucket >= :since::timestamptz and e.bucket < :until::timestamptz
)
select slot, currency,
    case when :apart::boolean then value else '' end as value,
    case when :apart::boolean then detail else '' end as detail,
    coalesce(total_sum(sign * sales), 0) as sales, coalesce(total_sum(sign * gross_minor), 0) as gross_minor,
    coalesce(total_sum(sign * sales_refunded), 0) as sales_refunded,
    coalesce(total_sum(sign * sales_refunded_minor), 0) as sales_refunded_minor,
    coalesce(total_sum(sign * sales_disputed), 0) as sales_disputed, coalesce(total_sum(sign * refunds), 0) as refunds,
    coalesce(total_sum(sign * refund_minor), 0) as refund_minor, coalesce(total_sum(sign * disputes), 0) as disputes,
    coalesce(total_sum(sign * dispute_minor), 0) as dispute_minor,
    coalesce(total_sum(sign * disputes_lost), 0) as disputes_lost,
    coalesce(total_sum(sign * lost_minor), 0) as lost_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: statement_cells
-- What a statement is made of.
with piece as (
    select level, since, until, adds_to, takes_from
    from unnest(:levels::text[], :sinces::timestamptz[], :untils::timestamptz[], :adds_to::integer[],
        :takes_from::integer[]) as piece (level, since, until, adds_to, takes_from)
),
cells as (
    select share.slot, share.sign, kept.* from piece cross join lateral (
        select t.bucket, t.currency, t.value, t.detail,
            t.sales, t.gross_minor, t.fee_minor, t.unknown_fees, t.unknown_fee_gross_minor, t.refunds, t.refund_minor,
            t.other_fee_minor, t.disputes, t.held_minor
        from totals t
        where t.merchant = :merchant::text and t.livemode = :livemode::boolean and t.breakdown = :breakdown::text
          and t.level = piece.level and t.bucket >= piece.since and t.bucket < piece.until
        offset 0  -- so that each range is one walk along the index, whatever is thought of how many rows it has
    ) as kept
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(kept.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level <> 'entry' and share.slot >= 0
    union all
    select share.slot, share.sign, told.* from piece cross join lateral (
        select e.bucket, e.currency, total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
            e.sales, e.gross_minor, e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.refunds, e.refund_minor,
            e.other_fee_minor, e.disputes, e.held_minor
        from total_entries e
        where e.livemode = :livemode::boolean and (:merchant::text = '*' or e.merchant = :merchant::text)
          and e.bucket >= piece.since and e.bucket < piece.until
        offset 0
    ) as told
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(told.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level = 'entry' and share.slot >= 0
    union all
    select width_bucket(e.bucket, :starts::timestamptz[]) - 1, 1, e.bucket, e.currency,
        total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
        e.sales, e.gross_minor, e.fee_minor, e.unknown_fees, e.unknown_fee_gross_minor, e.refunds, e.refund_minor,
        e.other_fee_minor, e.disputes, e.held_minor
    from totals_outstanding(:merchant::text, :most_outstanding::integer) as e
    where e.livemode = :livemode::boolean and e.bucket >= :since::timestamptz and e.bucket < :until::timestamptz
)
select slot, currency,
    case when :apart::boolean then value else '' end as value,
    case when :apart::boolean then detail else '' end as detail,
    coalesce(total_sum(sign * sales), 0) as sales, coalesce(total_sum(sign * gross_minor), 0) as gross_minor,
    coalesce(total_sum(sign * fee_minor), 0) as fee_minor, coalesce(total_sum(sign * unknown_fees), 0) as unknown_fees,
    coalesce(total_sum(sign * unknown_fee_gross_minor), 0) as unknown_fee_gross_minor,
    coalesce(total_sum(sign * refunds), 0) as refunds, coalesce(total_sum(sign * refund_minor), 0) as refund_minor,
    coalesce(total_sum(sign * other_fee_minor), 0) as other_fee_minor,
    coalesce(total_sum(sign * disputes), 0) as disputes,
    coalesce(total_sum(sign * held_minor), 0) as held_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: order_cells
-- Orders and their items by when they were made.
with piece as (
    select level, since, until, adds_to, takes_from
    from unnest(:levels::text[], :sinces::timestamptz[], :untils::timestamptz[], :adds_to::integer[],
        :takes_from::integer[]) as piece (level, since, until, adds_to, takes_from)
),
cells as (
    select share.slot, share.sign, kept.* from piece cross join lateral (
        select t.bucket, t.currency, t.value, t.detail,
            t.orders, t.ordered_minor, t.paid_minor, t.returned_minor, t.tax_minor, t.order_fee_minor,
            t.discount_minor, t.quantity, t.sold_quantity, t.sold_minor
        from totals t
        where t.merchant = :merchant::text and t.livemode = :livemode::boolean and t.breakdown = :breakdown::text
          and t.level = piece.level and t.bucket >= piece.since and t.bucket < piece.until
        offset 0  -- so that each range is one walk along the index, whatever is thought of how many rows it has
    ) as kept
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(kept.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level <> 'entry' and share.slot >= 0
    union all
    select share.slot, share.sign, told.* from piece cross join lateral (
        select e.bucket, e.currency, total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
            e.orders, e.ordered_minor, e.paid_minor, e.returned_minor, e.tax_minor, e.order_fee_minor,
            e.discount_minor, e.quantity, e.sold_quantity, e.sold_minor
        from total_entries e
        where e.livemode = :livemode::boolean and (:merchant::text = '*' or e.merchant = :merchant::text)
          and e.bucket >= piece.since and e.bucket < piece.until
        offset 0
    ) as told
    cross join lateral (values
        (coalesce(piece.adds_to, width_bucket(told.bucket, :nearest::timestamptz[]) - 1), 1), (piece.takes_from, -1)
    ) as share (slot, sign)
    where piece.level = 'entry' and share.slot >= 0
    union all
    select width_bucket(e.bucket, :starts::timestamptz[]) - 1, 1, e.bucket, e.currency,
        total_value(e, :breakdown::text), total_detail(e, :breakdown::text),
        e.orders, e.ordered_minor, e.paid_minor, e.returned_minor, e.tax_minor, e.order_fee_minor, e.discount_minor,
        e.quantity, e.sold_quantity, e.sold_minor
    from totals_outstanding(:merchant::text, :most_outstanding::integer) as e
    where e.livemode = :livemode::boolean and e.bucket >= :since::timestamptz and e.bucket < :until::timestamptz
)
select slot, currency,
    case when :apart::boolean then value else '' end as value,
    case when :apart::boolean then detail else '' end as detail,
    coalesce(total_sum(sign * orders), 0) as orders, coalesce(total_sum(sign * ordered_minor), 0) as ordered_minor,
    coalesce(total_sum(sign * paid_minor), 0) as paid_minor,
    coalesce(total_sum(sign * returned_minor), 0) as returned_minor,
    coalesce(total_sum(sign * tax_minor), 0) as tax_minor,
    coalesce(total_sum(sign * order_fee_minor), 0) as order_fee_minor,
    coalesce(total_sum(sign * discount_minor), 0) as discount_minor,
    coalesce(total_sum(sign * quantity), 0) as quantity,
    coalesce(total_sum(sign * sold_quantity), 0) as sold_quantity,
    coalesce(total_sum(sign * sold_minor), 0) as sold_minor
from cells
where value is not null and (:value::text is null or value = :value::text)
  and (:detail::text is null or detail = :detail::text)
group by 1, 2, 3, 4
order by 1, 3, 4, 2;

-- name: fold
-- Counts what is marked; null while somebody else counts.
select fold_totals(:most::integer) as taken;

-- name: waiting
-- How much is marked and not counted, and since when.
select count(*) as marks, coalesce(extract(epoch from now() - min(marked_at)), 0)::double precision as oldest_seconds
from total_marks;

-- name: bounds
-- The first and the last payment and order, and the months of entries and sums.
select coalesce((select min(id) from payments), 0) as first_payment, coalesce((select max(id) from payments), 0)
        as last_payment,
    coalesce((select min(id) from orders), 0) as first_order, coalesce((select max(id) from orders), 0) as last_order,
    (select min(bucket) from total_entries) as first_bucket, (select max(bucket) from total_entries) as last_bucket;

-- name: drifted_payments
-- Payments of a range of numbers whose entries are not what their rows say.
select payment_id, merchant from drifted_payments(:first::bigint, :after::bigint);

-- name: drifted_orders
-- The same of orders.
select order_id, merchant from drifted_orders(:first::bigint, :after::bigint);

-- name: drifted_orphans
-- The same of refunds and disputes without a payment.
select source, source_id, merchant from drifted_orphans();

-- name: mark
-- Lets a row be counted anew.
insert into total_marks (source, source_id, merchant) values (:source::text, :source_id::bigint, :merchant::text);

-- name: drift_of_totals
-- Sums that are not what they are made of.
select merchant, breakdown, level, bucket, currency
from drift_of_totals(:since::timestamptz, :until::timestamptz, :levels::text[])
order by merchant, breakdown, level, bucket, currency;

-- name: repair_totals
-- Puts them right; null while somebody else counts.
select repair_totals(:since::timestamptz, :until::timestamptz, :levels::text[]) as repaired;

-- name: begin_check
-- Notes that a recount begins; it goes on where the last one stopped.
insert into total_checks (next_payment_id)
select coalesce((select next_payment_id from total_checks order by id desc limit 1), 0)
returning id, next_payment_id;

-- name: end_check
-- Notes what it found.
update total_checks set ended_at = now(), next_payment_id = :next_payment_id::bigint,
    rows_checked = :rows_checked::bigint, entries_drifted = :entries_drifted::bigint,
    totals_drifted = :totals_drifted::bigint, repaired = :repaired::boolean, examples = :examples::jsonb
where id = :id::bigint;

-- name: last_checks
-- What the last recounts found, newest first.
select id, begun_at, ended_at, rows_checked, entries_drifted, totals_drifted, repaired, examples
from total_checks order by id desc limit :most::integer;

-- name: merge_membership_counts
-- Merges the counts of merchants that have many changes.
select merge_membership_counts(:left_alone::integer, :most::integer) as taken;

-- name: merchants
-- All of them.
select id from merchants order by id;

-- name: drift_of_membership_counts
-- Counts of one merchant's memberships that are not what a recount says: how many are missing.
select category, status, livemode, memberships, missed from drift_of_membership_counts(:merchant::text)
order by category, status, livemode;

-- name: repair_membership_counts
-- Puts them right.
select repair_membership_counts(:merchant::text) as repaired;
