-- Profiles and projects: each user sees his own. The owner of the tables, as which owner and admin work, sees all.
-- migrate: up

create table public.profiles (
    id uuid primary key default gen_random_uuid(),
    email text unique not null,
    name text,
    avatar_url text,
    created_at timestamptz default now()
);

create table public.projects (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    description text,
    owner_id uuid references public.profiles (id),
    created_at timestamptz default now()
);

create index projects_owner on public.projects (owner_id);

alter table public.profiles enable row level security;
alter table public.projects enable row level security;

-- In a subquery the claims are read and checked once a statement, and not once a row.
create policy "Users can view own profile" on public.profiles
    for select using ((select auth.uid()) = id);
create policy "Users can update own profile" on public.profiles
    for update using ((select auth.uid()) = id);
create policy "Users can view own projects" on public.projects
    for select using ((select auth.uid()) = owner_id);
create policy "Users can create projects" on public.projects
    for insert with check ((select auth.uid()) = owner_id);

-- migrate: down

drop table public.projects;
drop table public.profiles;
