"""An agent on a stream: what is shipped, how it starts, how calls and content flow."""
