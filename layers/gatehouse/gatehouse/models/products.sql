-- Products and their categories, for one merchant. Each statement that shows rows also notes who read them, as a product
-- is health data: row and note are written in one statement, so there is never one without the other.

-- name: list_products
-- Products by name, with how many payments each has; all, those of a category, or those that nobody has reviewed.
with found as (
    select id, merchant, product_name, category, suggested_category, suggested_because, reviewed_by, reviewed_at, version,
           created_at, updated_at, product_key
    from product_categories
    where merchant = :merchant::text
      and (:category::text is null or category = :category::text)
      and (:to_review::boolean is null or (reviewed_at is null) = :to_review::boolean)
      and (:begins::text is null
           or (product_key >= product_key(:begins::text) and product_key < product_key(:begins::text) || chr(1114111)))
      and (:after_key::text is null or (product_key, id) > (:after_key::text, :after_id::bigint))
    order by product_key, id
    limit :most::integer
), noted as (
    insert into health_data_reads (merchant, reader, kind, filters, row_ids, row_count)
    select :merchant::text, :reader::text, 'products', :asked::jsonb, coalesce(array_agg(id), '{}'), count(*) from found
)
select * from found order by product_key, id;

-- name: find_product
-- One of the merchant's products.
with found as (
    select id, merchant, product_name, category, suggested_category, suggested_because, reviewed_by, reviewed_at, version,
           created_at, updated_at, product_key
    from product_categories where merchant = :merchant::text and id = :id::bigint
), noted as (
    insert into health_data_reads (merchant, reader, kind, row_ids, row_count)
    select :merchant::text, :reader::text, 'products', array[id], 1 from found
)
select * from found;

-- name: find_products
-- Some of the merchant's products, by their ids.
with found as (
    select id, merchant, product_name, category, suggested_category, suggested_because, reviewed_by, reviewed_at, version,
           created_at, updated_at, product_key
    from product_categories where merchant = :merchant::text and id = any (:ids::bigint[])
), noted as (
    insert into health_data_reads (merchant, reader, kind, row_ids, row_count)
    select :merchant::text, :reader::text, 'products', array_agg(id order by id), count(*) from found having count(*) > 0
)
select * from found order by id;

-- name: product_named
-- The product of a name: as it is written, else without regard to capital letters and spaces.
select id from product_categories
where merchant = :merchant::text and product_key = product_key(:name::text)
order by product_name <> :name::text, id
limit 1;

-- name: list_categories
-- The merchant's own categories, with how many products each has.
select category, count(*)::integer as products, count(*) filter (where reviewed_at is null)::integer as to_review
from product_categories where merchant = :merchant::text
group by category order by category;

-- name: set_product_category
-- Gives a product its category; begins to give it to past payments where it is another one.
select set_product_category(:id::bigint, :category::text, :expected_version::integer) as reclassification;

-- name: put_products
-- Puts products with their categories into the list; says of each what was done.
select place, product_id, outcome, reclassification from put_products(:products::jsonb) order by place;

-- name: find_reclassifications
-- How far some reclassifications have come, with the jobs that carry them on.
select id, product_id, category, actor, payments_planned, payments_changed, memberships_changed, job_id, started_at,
       finished_at
from reclassifications where merchant = :merchant::text and id = any (:ids::bigint[]) order by id;

-- name: list_reclassifications
-- The newest reclassifications.
select id, product_id, category, actor, payments_planned, payments_changed, memberships_changed, job_id, started_at,
       finished_at
from reclassifications where merchant = :merchant::text order by id desc limit :most::integer;

-- name: step_reclassification
-- Takes one step of a reclassification, in a transaction of its own; says how far it is then.
select id, merchant, payments_planned, payments_changed, memberships_changed, finished_at
from step_reclassification(:id::bigint, :most::integer);

-- name: classify_again
-- Gives some of a merchant's payments their product, category and membership anew.
select last_at, last_id, payments, payments_changed, memberships_changed
from classify_again(:after_at::timestamptz, :after_id::bigint, :most::integer);
