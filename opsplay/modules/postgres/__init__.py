"""PostgreSQL: dumps that are proven, restores, point-in-time recovery, replication, and a server's everyday care."""
