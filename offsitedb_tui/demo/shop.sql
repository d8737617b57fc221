-- A small web shop, as a real application would have it: two schemas, enums and domains, foreign keys, a partitioned
-- table, identity and serial keys, generated columns, JSON, full text, views, a materialised view, functions, triggers,
-- policies, and customers from everywhere. Generated rows only.
CREATE SCHEMA shop;
CREATE SCHEMA audit;
CREATE EXTENSION IF NOT EXISTS plpgsql;

CREATE TYPE shop.order_state AS ENUM ('basket', 'paid', 'shipped', 'returned');
CREATE DOMAIN shop.email AS text CHECK (VALUE ~ '^[^@[:space:]]+@[^@[:space:]]+$');

CREATE TABLE shop.country (
    code char(2) PRIMARY KEY,
    name text NOT NULL
);
INSERT INTO shop.country VALUES
    ('DE', 'Deutschland'), ('JP', '日本'), ('GR', 'Ελλάδα'), ('BR', 'Brasil'), ('EG', 'مصر'), ('IS', 'Ísland'),
    ('UA', 'Україна'), ('IN', 'भारत');

CREATE TABLE shop.customer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email shop.email NOT NULL UNIQUE,
    name text NOT NULL,
    country char(2) NOT NULL REFERENCES shop.country,
    preferences jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO shop.customer (email, name, country, preferences, created_at)
SELECT 'customer' || g || '@example.org',
       (ARRAY['Ana', 'Björn', 'Χρήστος', 'たろう', 'Olga', 'Zoë', 'Ahmed', 'Priya'])[1 + g % 8] || ' ' || g,
       (ARRAY['DE', 'JP', 'GR', 'BR', 'EG', 'IS', 'UA', 'IN'])[1 + g % 8],
       jsonb_build_object('newsletter', g % 3 = 0, 'tags', jsonb_build_array('t' || g % 7, 't' || g % 11)),
       timestamptz '2025-01-01 00:00+00' + g * interval '37 minutes'
FROM generate_series(1, 8000) g;

CREATE TABLE shop.product (
    id serial PRIMARY KEY,
    sku text NOT NULL UNIQUE,
    title text NOT NULL,
    description text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price > 0),
    picture bytea,
    words tsvector GENERATED ALWAYS AS (to_tsvector('simple', title || ' ' || description)) STORED
);
INSERT INTO shop.product (sku, title, description, price, picture)
SELECT 'SKU-' || lpad(g::text, 6, '0'), 'Thing number ' || g, 'A thing of kind ' || md5(g::text) || ', made well',
       1 + (g * 37 % 9000) / 100.0, CASE WHEN g % 10 = 0 THEN decode(repeat(md5(g::text), 64), 'hex') END
FROM generate_series(1, 1200) g;
CREATE INDEX product_words ON shop.product USING gin (words);

CREATE TABLE shop.stock (
    product int NOT NULL REFERENCES shop.product ON DELETE CASCADE,
    warehouse text NOT NULL,
    pieces int NOT NULL CHECK (pieces >= 0),
    PRIMARY KEY (product, warehouse)
);
INSERT INTO shop.stock SELECT p, w, p * 7 % 300 FROM generate_series(1, 1200) p, unnest(ARRAY['north', 'south']) w;

CREATE TABLE shop.orders (
    id bigint NOT NULL,
    placed_on date NOT NULL,
    customer bigint NOT NULL REFERENCES shop.customer,
    state shop.order_state NOT NULL,
    note text,
    PRIMARY KEY (id, placed_on)
) PARTITION BY RANGE (placed_on);
CREATE TABLE shop.orders_2025 PARTITION OF shop.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE shop.orders_2026 PARTITION OF shop.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.orders_later PARTITION OF shop.orders DEFAULT;
CREATE SEQUENCE shop.order_number START 100000 OWNED BY NONE;
INSERT INTO shop.orders
SELECT nextval('shop.order_number'), date '2025-01-03' + g / 80, 1 + g * 13 % 8000,
       (enum_range(NULL::shop.order_state))[1 + g % 4], CASE WHEN g % 50 = 0 THEN E'please ring\ntwice\t– ' || g END
FROM generate_series(1, 60000) g;
CREATE INDEX orders_customer ON shop.orders (customer);

CREATE TABLE shop.order_line (
    order_id bigint NOT NULL,
    placed_on date NOT NULL,
    line int NOT NULL,
    product int NOT NULL REFERENCES shop.product,
    pieces int NOT NULL CHECK (pieces > 0),
    price numeric(10, 2) NOT NULL,
    total numeric(12, 2) GENERATED ALWAYS AS (pieces * price) STORED,
    PRIMARY KEY (order_id, line),
    FOREIGN KEY (order_id, placed_on) REFERENCES shop.orders
);
INSERT INTO shop.order_line (order_id, placed_on, line, product, pieces, price)
SELECT o.id, o.placed_on, l, 1 + (o.id * 31 + l * 17) % 1200, 1 + (o.id + l) % 4, 1 + (o.id * l % 9000) / 100.0
FROM shop.orders o, generate_series(1, 2) l;

CREATE TABLE audit.change (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    what text NOT NULL,
    old jsonb,
    new jsonb
);
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.change (what, old, new) VALUES (TG_TABLE_NAME, to_jsonb(OLD), to_jsonb(NEW));
    RETURN NEW;
END $$;
CREATE TRIGGER note_price AFTER UPDATE ON shop.product FOR EACH ROW EXECUTE FUNCTION audit.note();
UPDATE shop.product SET price = price + 0.01 WHERE id % 6 = 0;

CREATE FUNCTION shop.turnover(since date) RETURNS numeric LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(total), 0) FROM shop.order_line WHERE placed_on >= since
$$;
CREATE VIEW shop.open_orders AS
    SELECT o.id, o.placed_on, c.name FROM shop.orders o JOIN shop.customer c ON c.id = o.customer WHERE o.state = 'paid';
CREATE MATERIALIZED VIEW shop.turnover_by_country AS
    SELECT c.country, sum(l.total) AS total
    FROM shop.order_line l JOIN shop.orders o ON (o.id, o.placed_on) = (l.order_id, l.placed_on)
    JOIN shop.customer c ON c.id = o.customer GROUP BY c.country;
CREATE UNIQUE INDEX ON shop.turnover_by_country (country);

CREATE ROLE shop_app NOLOGIN;
ALTER TABLE shop.customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON shop.customer TO shop_app USING (email = current_setting('shop.email', true));
COMMENT ON TABLE shop.customer IS 'Customers; the application sees one at a time.';
