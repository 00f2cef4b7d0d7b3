"""What a host was like: evidence of an incident, sent off it as it is found."""
