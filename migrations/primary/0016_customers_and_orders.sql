-- Who buys what: customers, their orders and the items in them. What they pay is in payments.
-- migrate: up

-- Splits texts into the words by which they are found: lower case, without accents, each behind its merchant's name, so
-- that the words of one merchant lie together in an index that all share. A letter beyond ASCII is one in any locale.
create function search_words(p_merchant text, p_texts text[]) returns tsvector
language sql immutable as $$
    select coalesce(array_to_tsvector(array_agg(distinct p_merchant || '/' || left(word, 60))), '')
    from unnest(p_texts) as said,
         regexp_split_to_table(
             regexp_replace(lower(normalize(said, nfd)), '[\u0300-\u036f]', '', 'g'),
             '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
$$;

-- Makes the question for some words, each of which may be the beginning of a longer one; null where there is no word.
create function search_query(p_merchant text, p_text text) returns tsquery
language sql immutable as $$
    select string_agg('''' || p_merchant || '/' || left(word, 60) || ''':*', ' & ')::tsquery
    from regexp_split_to_table(
        regexp_replace(lower(normalize(left(p_text, 300), nfd)), '[\u0300-\u036f]', '', 'g'),
        '[^[:alnum:]\u0080-\uffff]+') as word
    where word <> ''
$$;

create table customers (
    id bigint generated always as identity primary key,
    merchant text not null references merchants (id),
    email text check (email ~ '@' and length(email) <= 320),
    -- Compared as it is: a condition on lower(email) could not use its index under row-level security.
    email_key text generated always as (lower(email)) stored,
    first_name text,
    last_name text,
    phone text,
    consent_at timestamptz,
    consent_scope text,
    retain_until date,
    erased_at timestamptz,
    version integer not null default 1,
    search tsvector generated always as (
        search_words(merchant, array[email, first_name, last_name, phone])) stored,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (email is not null or erased_at is not null),
    check (erased_at is null or num_nonnulls(email, first_name, last_name, phone) = 0)
);

create unique index customers_email on customers (merchant, email_key) where email_key is not null;
create index customers_newest on customers (merchant, created_at desc, id desc);
create index customers_retained on customers (retain_until) where retain_until is not null and erased_at is null;
create index customers_search on customers using gin (search);

-- What a merchant sells. A type is data: another event has others.
create table item_types (
    merchant text not null references merchants (id),
    name text not null check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    created_at timestamptz not null default now(),
    primary key (merchant, name)
);

insert into item_types (merchant, name)
values
    ('default', 'full_festival'), ('default', 'day_pass'), ('default', 'workshop_only'), ('default', 'social_only'),
    ('default', 'vip');

-- The last order number of each day.
create table order_counters (
    merchant text not null,
    day date not null,
    last_number integer not null,
    primary key (merchant, day)
);

create table orders (
    -- From ten digits on, so that a shop's own small number in a payment is not taken for one of these.
    id bigint generated always as identity (start with 1000000001) primary key,
    merchant text not null references merchants (id),
    number text not null,
    customer_id bigint not null references customers (id),
    livemode boolean not null,
    event_id text,
    event_name text,
    event_date date,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    status text not null default 'pending' check (status in (
        'pending', 'processing', 'completed', 'failed', 'refunded', 'partially_refunded', 'cancelled'
    )),
    -- The last step that a person took; `status` is made of this and of the payments.
    status_by_hand text not null default 'pending' check (status_by_hand in (
        'pending', 'processing', 'completed', 'failed', 'refunded', 'partially_refunded', 'cancelled'
    )),
    payment_state text not null default 'unpaid' check (payment_state in (
        'unpaid', 'processing', 'part_paid', 'paid', 'over_paid', 'wrong_currency', 'partially_refunded', 'refunded',
        'reversed'
    )),
    subtotal_minor bigint not null check (subtotal_minor >= 0),
    tax_minor bigint not null check (tax_minor >= 0),
    fee_minor bigint not null check (fee_minor >= 0),
    discount_minor bigint not null check (discount_minor >= 0),
    total_minor bigint not null check (total_minor >= 0),
    paid_minor bigint not null default 0,
    refunded_minor bigint not null default 0,
    reference text,
    metadata jsonb,
    idempotency_key text,
    -- What the order was made of, so that the same key with another content shows.
    content_hash text,
    version integer not null default 1,
    search tsvector not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (total_minor = subtotal_minor + tax_minor + fee_minor - discount_minor)
);

comment on column orders.paid_minor is 'what came in for it, before refunds, in its currency and its mode';

create unique index orders_number on orders (merchant, number);
create unique index orders_reference on orders (merchant, reference) where reference is not null;
create unique index orders_idempotency_key on orders (merchant, idempotency_key) where idempotency_key is not null;
create index orders_customer on orders (customer_id, created_at desc, id desc);
create index orders_newest on orders (merchant, created_at desc, id desc);
create index orders_status on orders (merchant, status, created_at desc, id desc);
create index orders_payment_state on orders (merchant, payment_state, created_at desc, id desc);
create index orders_event on orders (merchant, event_id, created_at desc, id desc) where event_id is not null;
create index orders_search on orders using gin (search);

create table order_items (
    id bigint generated always as identity primary key,
    merchant text not null,
    order_id bigint not null references orders (id),
    item_type text not null,
    description text,
    quantity integer not null check (quantity > 0),
    unit_minor bigint not null check (unit_minor >= 0),
    total_minor bigint not null check (total_minor >= 0),
    attendee_name text,
    attendee_email text,
    attendee_email_key text generated always as (lower(attendee_email)) stored,
    foreign key (merchant, item_type) references item_types (merchant, name),
    check (total_minor = quantity * unit_minor)
);

create index order_items_order on order_items (order_id, id);
create index order_items_type on order_items (merchant, item_type, order_id);
create index order_items_attendee on order_items (merchant, attendee_email_key) where attendee_email_key is not null;

do $$
declare
    each text;
begin
    foreach each in array array['customers', 'item_types', 'order_counters', 'orders', 'order_items'] loop
        execute format('alter table %I enable row level security, force row level security', each);
        execute format(
            'create policy own_merchant on %I to gatehouse_intake, gatehouse_api'
            ' using (merchant = current_setting(''gatehouse.merchant'', true))', each);
        execute format(
            'create policy all_merchants on %I to gatehouse_worker, gatehouse_ops, current_user using (true)', each);
        -- Written by functions alone, which keep the rules: totals, numbers, legal steps.
        execute format('grant select on %I to gatehouse_worker, gatehouse_api, gatehouse_ops', each);
    end loop;
end
$$;

-- migrate: down

drop table order_items;
drop table orders;
drop table order_counters;
drop table item_types;
drop table customers;
drop function search_query(text, text);
drop function search_words(text, text[]);
