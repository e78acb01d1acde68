-- Words go into their index with the order, and into no list that waits for vacuum: a search would read all of that list.
-- migrate: up

alter index orders_search set (fastupdate = off);
alter index customers_search set (fastupdate = off);

-- migrate: down

alter index customers_search reset (fastupdate);
alter index orders_search reset (fastupdate);
