-- The part of TRR-Backend's schema that the contracts speak of, under the deployed names.
create schema core;

create table core.people (
    id uuid primary key default gen_random_uuid(),
    full_name text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table core.shows (
    id uuid primary key default gen_random_uuid(),
    name text not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

create table core.seasons (
    id uuid primary key default gen_random_uuid(),
    show_id uuid not null references core.shows (id) on delete cascade,
    season_number integer not null check (season_number >= 0),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (show_id, season_number)
);

create table core.episodes (
    id uuid primary key default gen_random_uuid(),
    season_id uuid not null references core.seasons (id) on delete cascade,
    episode_number integer not null check (episode_number >= 0),
    unique (season_id, episode_number)
);

create table core.credits (
    id uuid primary key default gen_random_uuid(),
    show_id uuid not null references core.shows (id) on delete cascade,
    person_id uuid not null references core.people (id) on delete cascade,
    credit_category text not null,
    role text,
    billing_order integer,
    source_type text not null
);

create unique index credits_once
on core.credits (show_id, person_id, credit_category, coalesce(role, ''), source_type);

create table core.credit_occurrences (
    credit_id uuid not null references core.credits (id) on delete cascade,
    episode_id uuid not null references core.episodes (id) on delete cascade,
    primary key (credit_id, episode_id)
);

create index credit_occurrences_of_episode on core.credit_occurrences (episode_id);

create view core.v_episode_cast as
select
    occurrences.episode_id,
    credits.person_id,
    min(credits.billing_order) as billing_order
from core.credit_occurrences as occurrences
join core.credits as credits on credits.id = occurrences.credit_id
group by occurrences.episode_id, credits.person_id;

create view core.v_season_cast as
select
    episodes.season_id,
    casts.person_id,
    count(*)::integer as episodes_in_season
from core.v_episode_cast as casts
join core.episodes as episodes on episodes.id = casts.episode_id
group by episodes.season_id, casts.person_id;

create table core.media_assets (
    id uuid primary key default gen_random_uuid(),
    source text not null,
    source_url text,
    hosted_url text,
    hosted_key text,
    hosted_sha256 text,
    content_type text,
    bytes bigint check (bytes >= 0),
    width integer check (width > 0),
    height integer check (height > 0),
    caption text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check (coalesce(hosted_url, source_url) is not null)
);

create unique index media_assets_hosted_sha256 on core.media_assets (hosted_sha256) where hosted_sha256 is not null;

create table core.media_links (
    id uuid primary key default gen_random_uuid(),
    entity_type text not null check (entity_type in ('person', 'show', 'season')),
    entity_id uuid not null,
    media_asset_id uuid not null references core.media_assets (id) on delete cascade,
    kind text not null,
    position integer,
    is_primary boolean not null default false,
    facebank_seed boolean not null default false,
    context jsonb not null default '{}',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (entity_type, entity_id, kind, media_asset_id)
);

create unique index media_links_one_primary on core.media_links (entity_type, entity_id, kind) where is_primary;
create index media_links_of_asset on core.media_links (media_asset_id);

-- What seasons had before core.media_links: images of TMDb, by the path of their file there.
create table core.season_images (
    id uuid primary key default gen_random_uuid(),
    season_id uuid not null references core.seasons (id) on delete cascade,
    kind text not null,
    source text not null,
    file_path text not null,
    width integer check (width > 0),
    height integer check (height > 0),
    created_at timestamptz not null default now(),
    unique (season_id, kind, source, file_path)
);

create view core.v_person_images as
select
    links.id as link_id,
    links.entity_id as person_id,
    links.media_asset_id,
    links.kind,
    links.position,
    links.is_primary,
    links.facebank_seed,
    coalesce(assets.hosted_url, assets.source_url) as served_url,
    assets.source_url,
    assets.hosted_url,
    assets.hosted_key,
    assets.width,
    assets.height
from core.media_links as links
join core.media_assets as assets on assets.id = links.media_asset_id
where links.entity_type = 'person';

-- What admins have deleted and don't want to see again, for each entity; the canonical address tells images apart.
create table core.media_scrape_exclusions (
    id uuid primary key default gen_random_uuid(),
    entity_type text not null check (entity_type in ('person', 'show', 'season')),
    entity_id uuid not null,
    source_page_url text,
    source_image_url text not null,
    source_image_url_canonical text not null,
    reason text,
    created_at timestamptz not null default now(),
    created_by text,
    unique (entity_type, entity_id, source_image_url_canonical)
);

-- The provider state "storage failure": writes to the links of these people fail in the database itself.
create schema reference;

create table reference.unwritable_people (
    person_id uuid primary key
);

create function reference.refuse_write() returns trigger language plpgsql as $$
begin
    if exists (select from reference.unwritable_people where person_id = new.entity_id) then
        raise exception 'provider state "storage failure": links of person % are not writable', new.entity_id
            using errcode = 'io_error';
    end if;
    return new;
end
$$;

create trigger refuse_write before update on core.media_links
for each row execute function reference.refuse_write();

-- The provider state "text overlay failure": the detector fails for these assets.
create table reference.undetectable_assets (
    media_asset_id uuid primary key
);

-- The object store, where the hosted copies of images are.
create table reference.objects (
    key text primary key,
    content_type text not null,
    content bytea not null
);
