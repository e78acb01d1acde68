-- Where files are noted: buckets and the objects in them; the bytes lie elsewhere.
-- migrate: up

create table storage.buckets (
    id text primary key,
    name text unique not null,
    is_public boolean not null default false,
    owner_id uuid,
    created_at timestamptz not null default now()
);

create table storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text not null references storage.buckets (id),
    name text not null,
    owner_id uuid,
    size_bytes bigint check (size_bytes >= 0),
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    unique (bucket_id, name)
);

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;

create policy "Everybody can view public buckets" on storage.buckets for select using (is_public);
create policy "Users can view own buckets" on storage.buckets for select using ((select auth.uid()) = owner_id);
create policy "Users can view own objects" on storage.objects for select using ((select auth.uid()) = owner_id);
create policy "Users can add own objects" on storage.objects for insert with check ((select auth.uid()) = owner_id);
create policy "Users can remove own objects" on storage.objects for delete using ((select auth.uid()) = owner_id);

-- migrate: down

drop table storage.objects;
drop table storage.buckets;
