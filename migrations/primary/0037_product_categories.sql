-- What each merchant sells, by product line (TRT, Weight Loss …): a payment takes its product from its invoice, and its
-- category from the merchant's own list. What the list lacks is put down for somebody to look at, with a suggestion.
-- migrate: up

-- By what two spellings of a product are one: neither capital letters nor spaces make a difference.
create function product_key(p_name text) returns text
language sql immutable parallel safe as $$
    select lower(regexp_replace(normalize(p_name, nfkc), '\s', '', 'g'))
$$;

create table product_categories (
    id bigint generated always as identity primary key,
    merchant text not null references merchants (id),
    product_name text not null check (product_name = btrim(product_name) and length(product_name) between 1 and 300),
    product_key text generated always as (product_key(product_name)) stored,
    category text not null default 'Uncategorized' check (
        category = btrim(category) and length(category) between 1 and 60
        and lower(category) not in ('all', 'cancellations')),  -- those are tabs of their own
    suggested_category text,
    suggested_because text,
    reviewed_by text,
    reviewed_at timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((reviewed_by is null) = (reviewed_at is null))
);

comment on column product_categories.product_name is 'as it was seen, or as it was given';
comment on column product_categories.suggested_because is 'the rule that suggested it';

create unique index product_categories_name on product_categories (merchant, product_name);
create index product_categories_key on product_categories (merchant, product_key, id);
create index product_categories_category on product_categories (merchant, category, product_key, id);
create index product_categories_to_review on product_categories (merchant, product_key, id) where reviewed_at is null;

-- What a product's name suggests. Rules are data; without a merchant they are for everybody.
create table category_rules (
    id bigint generated always as identity primary key,
    merchant text references merchants (id),
    word text not null check (length(word) between 2 and 60),
    is_whole boolean not null default false,
    category text not null check (category = btrim(category) and length(category) between 1 and 60),
    unique nulls not distinct (merchant, word)
);

comment on column category_rules.is_whole is
    'the word must stand alone in the name; otherwise it is enough that the name has it within, spaces aside';

insert into category_rules (word, is_whole, category)
values
    ('testosterone', false, 'TRT'), ('trt', true, 'TRT'), ('cypionate', false, 'TRT'), ('enanthate', false, 'TRT'),
    ('anastrozole', false, 'TRT'), ('gonadorelin', false, 'TRT'), ('hcg', true, 'TRT'), ('clomiphene', false, 'TRT'),
    ('androgel', false, 'TRT'), ('hormone replacement', false, 'TRT'),
    ('semaglutide', false, 'Weight Loss'), ('tirzepatide', false, 'Weight Loss'),
    ('liraglutide', false, 'Weight Loss'), ('retatrutide', false, 'Weight Loss'), ('ozempic', false, 'Weight Loss'),
    ('wegovy', false, 'Weight Loss'), ('mounjaro', false, 'Weight Loss'), ('zepbound', false, 'Weight Loss'),
    ('saxenda', false, 'Weight Loss'), ('phentermine', false, 'Weight Loss'), ('glp-1', false, 'Weight Loss'),
    ('glp1', false, 'Weight Loss'), ('lipotropic', false, 'Weight Loss'), ('weight loss', false, 'Weight Loss'),
    ('bpc', false, 'Peptides'), ('sermorelin', false, 'Peptides'), ('ipamorelin', false, 'Peptides'),
    ('tesamorelin', false, 'Peptides'), ('cjc', false, 'Peptides'), ('tb-500', false, 'Peptides'),
    ('thymosin', false, 'Peptides'), ('ghk', false, 'Peptides'), ('pt-141', false, 'Peptides'),
    ('nad', true, 'Peptides'), ('nad+', false, 'Peptides'), ('peptide', false, 'Peptides'),
    ('sildenafil', false, 'ED'), ('tadalafil', false, 'ED'), ('vardenafil', false, 'ED'), ('avanafil', false, 'ED'),
    ('viagra', false, 'ED'), ('cialis', false, 'ED'), ('trimix', false, 'ED'), ('tri-mix', false, 'ED'),
    ('erectile', false, 'ED'), ('ed', true, 'ED'),
    ('finasteride', false, 'Hair Loss'), ('minoxidil', false, 'Hair Loss'), ('dutasteride', false, 'Hair Loss'),
    ('hair loss', false, 'Hair Loss'),
    ('levothyroxine', false, 'Thyroid'), ('liothyronine', false, 'Thyroid'), ('thyroid', false, 'Thyroid'),
    ('glutathione', false, 'Vitamins'), ('b12', false, 'Vitamins'), ('b-12', false, 'Vitamins'),
    ('vitamin', false, 'Vitamins'),
    ('consult', false, 'Visits'), ('office visit', false, 'Visits'),
    ('blood work', false, 'Labs'), ('lab', true, 'Labs'), ('labs', true, 'Labs');

alter table product_categories enable row level security, force row level security;
create policy own_merchant on product_categories to gatehouse_intake, gatehouse_api
    using (merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on product_categories to gatehouse_worker, gatehouse_ops, current_user using (true);
alter table category_rules enable row level security, force row level security;
create policy own_merchant on category_rules to gatehouse_intake, gatehouse_api
    using (merchant is null or merchant = current_setting('gatehouse.merchant', true));
create policy all_merchants on category_rules to gatehouse_worker, gatehouse_ops, current_user using (true);
-- Products are written by functions alone.
grant select on product_categories to gatehouse_intake, gatehouse_api, gatehouse_worker, gatehouse_ops;
grant select on category_rules to gatehouse_intake, gatehouse_api, gatehouse_worker;
grant select, insert, update, delete on category_rules to gatehouse_ops;

create trigger product_categories_audit_insert after insert on product_categories
    for each row execute function write_audit();
create trigger product_categories_audit_update after update on product_categories
    for each row when (old.* is distinct from new.*) execute function write_audit();
create trigger product_categories_audit_delete after delete on product_categories
    for each row execute function write_audit();

-- Suggests a category by the rules: the merchant's own before those for everybody, then the longest word.
create function suggest_category(p_merchant text, p_name text, out category text, out because text)
language plpgsql stable as $$
begin
    select r.category, 'the name has ' || r.word into category, because
    from category_rules r
    where (r.merchant is null or r.merchant = p_merchant)
      and case
          when r.is_whole then lower(p_name) ~ ('\m' || regexp_replace(lower(r.word), '(\W)', '\\\1', 'g') || '\M')
          else position(product_key(r.word) in product_key(p_name)) > 0
      end
    order by r.merchant is null, length(r.word) desc, r.word
    limit 1;
end
$$;

-- Looks a product up in the merchant's list: as it is written, else without regard to capital letters and spaces.
create function known_category(p_merchant text, p_name text) returns text
language plpgsql stable as $$
declare
    found_category text;
begin
    select c.category into found_category from product_categories c
    where c.merchant = p_merchant and c.product_name = p_name;
    if not found then
        select c.category into found_category from product_categories c
        where c.merchant = p_merchant and c.product_key = product_key(p_name)
        order by c.id limit 1;
    end if;
    return found_category;
end
$$;

-- Returns the category of a product; one that nobody knows is put down as Uncategorized, to be reviewed.
create function category_of(p_merchant text, p_name text) returns text
language plpgsql security definer set search_path = public, pg_temp as $$
declare
    found_category text;
    suggested record;
begin
    if p_name is null then
        return 'Other';
    end if;
    found_category := known_category(p_merchant, p_name);
    if found_category is null then
        select * into suggested from suggest_category(p_merchant, p_name);
        insert into product_categories (merchant, product_name, suggested_category, suggested_because)
        values (p_merchant, p_name, suggested.category, suggested.because)
        on conflict (merchant, product_name) do nothing;
        found_category := known_category(p_merchant, p_name);  -- another transaction may have been quicker
    end if;
    return found_category;
end
$$;

-- The first product that an invoice's lines name; null where they name none.
create function product_of_lines(p_lines jsonb) returns text
language sql immutable as $$
    select nullif(btrim(left(btrim(line ->> 'product'), 300)), '')
    from jsonb_array_elements(case when jsonb_typeof(p_lines) = 'array' then p_lines else '[]' end)
        with ordinality as lines (line, place)
    where btrim(line ->> 'product') <> ''
    order by place
    limit 1
$$;

-- None of these columns writes a row anew.
alter table payments add column product_name text;
alter table payments add column product_category text;
alter table payments add column is_recurring boolean not null default false;
comment on column payments.product_name is 'the first product of its invoice, as it was seen';
comment on column payments.product_category is
    'by product_categories; Other where no product is known; null where nothing says how the payment was made';
comment on column payments.is_recurring is
    'one of a row: its source is Recurring, or a subscription or contract asked for it or for its invoice';

-- What somebody was treated with stands in the audit as a hash only, as it does in that of invoices.
drop trigger payments_audit_insert on payments;
drop trigger payments_audit_update on payments;
drop trigger payments_audit_delete on payments;
create trigger payments_audit_insert after insert on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');
create trigger payments_audit_update after update on payments
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');
create trigger payments_audit_delete after delete on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id', 'product_name');

-- Gives a payment its product and category, by its invoice. Where it names an invoice or a subscription for the first
-- time, the name is locked: whoever records that one at the same moment finds the payment, or is found by it. Afterwards
-- the row's own lock is enough.
create function classify_payment() returns trigger
language plpgsql as $$
declare
    asked record;
begin
    -- A fold inserts, and updates where the row is there: then the trigger of the update is the one that counts.
    if tg_op = 'INSERT' and exists (select from payments where id = new.id) then
        return new;
    end if;
    if new.invoice_ref is not null and (tg_op = 'INSERT' or new.invoice_ref is distinct from old.invoice_ref) then
        perform lock_name(new.gateway, new.account, 'invoice of payments', new.invoice_ref);
    end if;
    if new.subscription_ref is not null
        and (tg_op = 'INSERT' or new.subscription_ref is distinct from old.subscription_ref)
    then
        perform lock_name(new.gateway, new.account, 'subscription', new.subscription_ref);
    end if;
    select product_of_lines(i.lines) as product, i.subscription_ref into asked
    from invoices i
    where i.gateway = new.gateway and i.account = new.account and i.gateway_id = new.invoice_ref
    order by i.id limit 1;
    new.product_name := asked.product;
    new.product_category := category_of(new.merchant, asked.product);
    new.is_recurring := coalesce(lower(new.source) = 'recurring', false) or new.subscription_ref is not null
        or asked.subscription_ref is not null;
    return new;
end
$$;

create trigger classify_payment_insert before insert on payments
    for each row when (new.source is not null or new.invoice_ref is not null or new.subscription_ref is not null)
    execute function classify_payment();
create trigger classify_payment_update before update on payments
    for each row when (
        old.source is distinct from new.source or old.invoice_ref is distinct from new.invoice_ref
        or old.subscription_ref is distinct from new.subscription_ref)
    execute function classify_payment();

-- Gives an invoice's payments its product, when it comes after them or changes.
create function classify_payments_of_invoice() returns trigger
language plpgsql as $$
declare
    product text := product_of_lines(new.lines);
    category text;
begin
    perform lock_name(new.gateway, new.account, 'invoice of payments', new.gateway_id);
    if not exists (
        select from payments p
        where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
    ) then
        return null;
    end if;
    category := category_of(new.merchant, product);
    update payments p set
        product_name = product, product_category = category,
        is_recurring = coalesce(lower(p.source) = 'recurring', false) or p.subscription_ref is not null
            or new.subscription_ref is not null
    where p.gateway = new.gateway and p.account = new.account and p.invoice_ref = new.gateway_id
      and p.merchant = new.merchant
      and (p.product_name, p.product_category, p.is_recurring) is distinct from (
          product, category, coalesce(lower(p.source) = 'recurring', false) or p.subscription_ref is not null
              or new.subscription_ref is not null);
    return null;
end
$$;

create trigger classify_payments_of_invoice_insert after insert on invoices
    for each row when (new.lines is not null or new.subscription_ref is not null)
    execute function classify_payments_of_invoice();
create trigger classify_payments_of_invoice_update after update on invoices
    for each row when (
        old.lines is distinct from new.lines or old.subscription_ref is distinct from new.subscription_ref
        or old.gateway_id is distinct from new.gateway_id)
    execute function classify_payments_of_invoice();

-- By product, to give past payments another category.
create index payments_product on payments (merchant, product_key(product_name), id) where product_name is not null;

revoke execute on function category_of(text, text) from public;
grant execute on function category_of(text, text) to gatehouse_intake, gatehouse_api, gatehouse_worker, gatehouse_ops;

-- migrate: down

drop index payments_product;
drop trigger classify_payments_of_invoice_update on invoices;
drop trigger classify_payments_of_invoice_insert on invoices;
drop function classify_payments_of_invoice();
drop trigger classify_payment_update on payments;
drop trigger classify_payment_insert on payments;
drop function classify_payment();
drop trigger payments_audit_insert on payments;
drop trigger payments_audit_update on payments;
drop trigger payments_audit_delete on payments;
create trigger payments_audit_insert after insert on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
create trigger payments_audit_update after update on payments
    for each row when (old.* is distinct from new.*)
    execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');
create trigger payments_audit_delete after delete on payments
    for each row execute function write_audit('metadata', 'failure_message', 'customer_ref', 'email', 'user_id');

alter table payments drop column is_recurring;
alter table payments drop column product_category;
alter table payments drop column product_name;
drop function product_of_lines(jsonb);
drop function category_of(text, text);
drop function known_category(text, text);
drop function suggest_category(text, text);
drop table category_rules;
drop table product_categories;
drop function product_key(text);
